"""What a function over the vocabulary holds: peak memory and time beside those of full logits.

One forward and backward pass of KL(reference ‖ policy) at 512 tokens, hidden size 576, each measurement in a
process of its own. Memory is the peak of the process less what it held before. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

TOKENS, HIDDEN = 512, 576
VOCABULARIES = (8_000, 32_000, 128_000, 256_000)


def main() -> None:
    """Measure each vocabulary in both ways and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="not used: the sizes are made up")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--one", nargs=2, metavar=("WAY", "VOCABULARY"))
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one[0], int(args.one[1]))))
        return
    rows = []
    for vocabulary in VOCABULARIES:
        row: dict[str, object] = {"vocabulary": vocabulary}
        for way in ("chunks", "full"):
            command = [sys.executable, __file__, "--one", way, str(vocabulary)]
            found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            row |= {f"{way} GB": found["gigabytes"], f"{way} s": found["seconds"]}
        rows.append(row)
    print(json.dumps(rows))


def measure(way: str, vocabulary: int) -> dict[str, float]:
    """Return the peak memory beside the weights, and the time, of one way."""
    import resource

    import torch

    from alignkit.models.logps import Head
    from alignkit.models.vocabulary import over_vocabulary

    def kl(policy: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        return (reference.exp() * (reference - policy)).sum(-1)

    head = Head(torch.randn(vocabulary, HIDDEN))
    policy, reference = torch.randn(TOKENS, HIDDEN, requires_grad=True), torch.randn(TOKENS, HIDDEN)
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    before, began = peak(), time.perf_counter()
    if way == "chunks":
        value = over_vocabulary({"kl": kl}, {"policy": policy, "reference": reference}, head)["kl"]
    else:
        logps = [(hidden @ head.weight.T).log_softmax(-1) for hidden in (policy, reference)]
        value = kl(*logps)
    value.sum().backward()
    return {"gigabytes": round(peak() - before, 2), "seconds": round(time.perf_counter() - began, 2)}


if __name__ == "__main__":
    main()

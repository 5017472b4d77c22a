"""`alignkit plugins`."""

import json

SAMPLERS = """
from alignkit import Sampler, hookimpl

class Here(Sampler):
    name = "here"

class Absent(Sampler):
    name = "absent"

    @classmethod
    def missing(cls):
        return "the package absent is not installed"

@hookimpl
def register_samplers(register):
    register(Here)
    register(Absent)
"""


def test_a_sampler_that_cannot_be_used_is_marked_in_the_list_of_plugins(alignkit, tmp_path):
    file = tmp_path / "two.py"
    file.write_text(SAMPLERS)
    out, _ = alignkit("plugins", "--plugin", file)
    (line,) = (line for line in out.splitlines() if line.startswith("two "))
    assert "sampler absent (not usable here: the package absent is not installed), here " in line
    (found,) = (
        item
        for item in json.loads(alignkit("plugins", "--json", "--plugin", file)[0])
        if item["name"] == "two"
    )
    assert found["registers"] == {"sampler": ["absent", "here"]}
    assert found["not_usable"] == {"absent": "the package absent is not installed"}

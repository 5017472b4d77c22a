"""`alignkit schema`."""

import json

from alignkit.recipe.editor import recipe_schema
from alignkit.registry import Registry

REWARD = """
from alignkit import hookimpl

def mine(prompts, completions, **columns):
    return [0.0 for _ in completions]

@hookimpl
def register_rewards(register):
    register(mine)
"""


def test_the_schema_is_printed(alignkit):
    assert json.loads(alignkit("schema")[0]) == recipe_schema(Registry())


def test_the_schema_is_written_to_a_file_with_what_a_plugin_registers(alignkit, tmp_path):
    (tmp_path / "mine.py").write_text(REWARD)
    target = tmp_path / "editor" / "recipe.json"
    out, _ = alignkit("schema", "--to", target, "--plugin", tmp_path / "mine.py")
    assert out == f"Written: {target}\n"
    assert json.loads(target.read_text()) == recipe_schema(Registry([tmp_path / "mine.py"]))
    assert '"mine"' in target.read_text()

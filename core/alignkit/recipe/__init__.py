"""The recipe: a YAML file and its schema, validated before anything heavy loads."""

from alignkit.recipe.mistakes import explain
from alignkit.recipe.schema import Recipe, load_recipe, parse_recipe
from alignkit.recipe.settings import Data, Drawing, Lora, Model, Training
from alignkit.recipe.verbs import BASE, VERBS, Evaluate, Label, RewardTerm, Sample, Stage, Target, Term, Train

__all__ = [
    "BASE",
    "VERBS",
    "Data",
    "Drawing",
    "Evaluate",
    "Label",
    "Lora",
    "Model",
    "Recipe",
    "RewardTerm",
    "Sample",
    "Stage",
    "Target",
    "Term",
    "Train",
    "Training",
    "explain",
    "load_recipe",
    "parse_recipe",
]

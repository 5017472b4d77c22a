"""The recipe: a YAML file and its schema. It is validated before anything heavy loads."""

from alignkit.recipe.model import Lora, Model
from alignkit.recipe.schema import Recipe, load_recipe, parse_recipe
from alignkit.recipe.settings import (
    DataEntry,
    Drawing,
    ObserverTerm,
    OptimizerTerm,
    Training,
)
from alignkit.recipe.terms import BASE, Binding, RewardTerm, Term
from alignkit.recipe.verbs import VERBS, Evaluate, Label, Sample, StageSettings, Target, Train

__all__ = [
    "BASE",
    "VERBS",
    "Binding",
    "DataEntry",
    "Drawing",
    "Evaluate",
    "Label",
    "Lora",
    "Model",
    "ObserverTerm",
    "OptimizerTerm",
    "Recipe",
    "RewardTerm",
    "Sample",
    "StageSettings",
    "Target",
    "Term",
    "Train",
    "Training",
    "load_recipe",
    "parse_recipe",
]

"""What tables and plots call a system, and which runs are runs of one system."""

import json
import re
from pathlib import Path
from typing import NamedTuple

import yaml

from lafufu_sb.errors import UsageError

SYSTEMS = Path(__file__).with_name("systems.yaml")
# Recipe values in which the runs of one system may differ.
PER_RUN = ("seed", "output_folder", "data_folder", "num_workers", "skip_prep", "stage")
# What else must agree, of the facts in evaluation.json.
AGREE = ("sampling", "phase_averages", "dry", "window", "overlap", "precision")
AGREE += ("parameters",)
_SHOWN = 3  # differing values that a title names


class Naming(NamedTuple):
    """How systems are shown, read by ``read_naming``.

    titles, family_of, ablations : dict of str to str
        By the name of a system: title, family, and the system it is an ablation of.
    families : dict of str to dict
        ``color`` and ``marker`` of each family.
    """

    titles: dict
    family_of: dict
    ablations: dict
    families: dict


def read_naming(*paths):
    """Read titles and families from ``systems.yaml`` and further files of its form.

    OSError or UsageError if a file cannot be read or has another form.

    Example
    -------
    >>> naming = read_naming()
    >>> naming.titles["lafufu_192_wham"], naming.family_of["sgmse_mini_wham"]
    ('LAFUFU 192', 'SGMSE+')
    """
    naming = Naming({}, {}, {}, {})
    for path in (SYSTEMS, *paths):
        try:
            content = yaml.safe_load(Path(path).read_text())
            for title, entry in content.get("systems", {}).items():
                for name in entry["names"]:
                    naming.titles[name] = title
                    naming.family_of[name] = entry.get("family", "")
            naming.ablations.update(content.get("ablations", {}))
            naming.families.update(content.get("families", {}))
        except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
            raise UsageError(
                f"{path} is not of the form of {SYSTEMS}: {error}"
            ) from error
    return naming


class _Plain(yaml.SafeLoader):
    """Reads HyperPyYAML without building anything: tags become text."""

    def compose_node(self, parent, index):
        """Compose a node; aliases of aliases could grow beyond memory."""
        alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        if alias and not isinstance(node, yaml.ScalarNode):
            raise UsageError("the recipe has aliases of lists or mappings")
        return node


def _tagged(loader, suffix, node):
    if isinstance(node, yaml.MappingNode):
        return {"!": suffix} | loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return [f"!{suffix}", *loader.construct_sequence(node, deep=True)]
    return f"!{suffix} {node.value}"


_Plain.add_multi_constructor("!", _tagged)


def recipe_facts(text):
    """The values of a recipe (HyperPyYAML text) in which runs of one system agree.

    By dotted key, without those of ``PER_RUN``. In paths the seed is replaced by
    ``<seed>``: each seed may start from the weights of the run with the same seed.

    Example
    -------
    >>> recipe_facts("seed: 7\\ninit_from: a/7/b\\nsde: !new:x.Y\\n    theta: 2")
    {'init_from': 'a/<seed>/b', 'sde.!': 'new:x.Y', 'sde.theta': 2}
    """
    try:
        recipe = yaml.load(text, _Plain)
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"the recipe cannot be read: {error}") from error
    if not isinstance(recipe, dict):
        raise UsageError("the recipe holds no settings")
    seed = recipe.get("seed")
    facts = _flat({k: v for k, v in recipe.items() if k not in PER_RUN})
    component = re.compile(rf"(?<=/){re.escape(str(seed))}(?=/|$)")
    return {
        key: component.sub("<seed>", value) if isinstance(value, str) else value
        for key, value in facts.items()
    }


def _flat(node, prefix=""):
    flat = {}
    for key, value in node.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def differences(facts):
    """{key: values} in which several contents of ``evaluation.json`` differ."""
    recipes = [fact.get("recipe") for fact in facts]
    if None in recipes:  # nothing to compare, except that one is unknown
        recipes = [{"recipe": "unknown" if r is None else "known"} for r in recipes]
    shared = [key for key in AGREE if all(key in fact for fact in facts)]
    flat = [
        {key: fact[key] for key in shared} | recipe
        for fact, recipe in zip(facts, recipes, strict=True)
    ]
    keys = dict.fromkeys(key for one in flat for key in one)
    rows = {key: [one.get(key) for one in flat] for key in keys}
    return {k: row for k, row in rows.items() if len({_frozen(v) for v in row}) > 1}


def _frozen(value):
    return json.dumps(value, sort_keys=True, default=str)


def names_apart(facts):
    """A text for each of several systems of one name that says how it differs."""
    found = differences(facts)
    shown = list(found)[:_SHOWN]
    more = f", {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return [
        ", ".join(f"{key}={found[key][i]}" for key in shown) + more
        for i in range(len(facts))
    ]

"""The config of a cell: what is refused, what gets its type, and what is left out."""

import pytest
from hydra import initialize_config_dir

from experiments.config import OWNED, TYPES, checked, fits, in_words, seen, types_of
from experiments.settings import CONF, entries
from experiments.sweeps.composing import Composer
from swag_repro.errors import SettingError
from swag_repro.runs.identity import leaves

ENTRIES = [name for name in entries() if name != "search"]

TYPED = [
    ("objective.style_weight=3", "objective.style_weight", 3),  # an integer where a number is wanted
    ("force=1", "force", True),
    ("progress=0", "progress", False),
    ("name=2024", "name", "2024"),
    ("name='12'", "name", "12"),
    ("compute.threads='4'", "compute.threads", 4),  # as of a variable of the environment
    ("compute.threads='null'", "compute.threads", None),
    ("compute.batch_size=auto", "compute.batch_size", "auto"),
    ("scales=[0.5,1]", "scales", [0.5, 1]),
    ("content=[a,b]", "content", ["a", "b"]),
]

MISTAKES = [
    ("coarsest=many", "`coarsest` should be a whole number; found 'many'"),
    ("coarsest=0.5", "`coarsest` should be a whole number; found 0.5"),
    ("images.size=large", "`images.size` should be a whole number; found 'large'"),
    ("images.size=null", "`images.size` should be a whole number; found None"),
    ("force=2", "`force` should be true or false; found 2"),
    ("name=null", "`name` should be text; found None"),
    ("steps=[1,x]", r"`steps` should be a whole number or a list of whole numbers; found \[1, 'x'\]"),
    ("precision=float8", "`precision` should be one of float64, float32, bfloat16, float16; found 'float8'"),
    ("+color2=red", "`color2` should be a known key; found none of that name. Did you mean color?"),
    ("+images.sise=3", "`images.sise` should be a known key; found none of that name. Did you mean images.size"),
    ("+images.size.x=3", "`images.size"),
    ("~coarsest", "`coarsest` should be given; found nothing. Add coarsest=... to the command."),
    ("~keep.every", "`keep.every` should be given"),
    ("keep=3", "`keep` should be a choice of its group; found 3"),
    ("objective.tap_weights=nonsense", "`objective.tap_weights` should be a number or a list of numbers; found 'nonsense'"),
    ("steps=many", "`steps` should be a whole number or a list of whole numbers; found 'many'"),
    ("pairing=all", "`pairing` should be one of zip, product, mix"),
    ("color=grey", "`color` should be one of style, luminance, matched"),
    ("objective.taps=deepest", "`objective.taps` should be a whole number or one of style, hypercolumn, all"),
    ("compute.batch_size=many", "`compute.batch_size` should be a whole number or auto; found 'many'"),
]  # fmt: skip


@pytest.fixture(scope="module")
def composers():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield {entry: Composer(entry) for entry in ENTRIES}


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_defaults_have_their_types_and_no_key_has_none(composers, entry):
    config = checked(composers[entry]([]), entry)
    typed = set(leaves(types_of(entry), "."))
    assert {
        key for key in leaves(config.plain, ".") if not any(f"{key}.".startswith(f"{t}.") for t in typed)
    } == set()
    unknown = {key for key, kind in leaves(types_of(entry), ".").items() if not in_words(kind)}
    assert not unknown, "their default tells no type: name it in TYPES"


def test_every_exception_is_of_a_setting():
    keys = {key for entry in entries() for key in leaves(types_of(entry), ".")}
    assert TYPES.keys() | OWNED.keys() <= keys


@pytest.mark.parametrize(("override", "key", "value"), TYPED)
def test_a_value_that_has_its_type_in_other_quotes_gets_it(composers, override, key, value):
    found = checked(composers["stylize"]([override]), "stylize").select(key)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(("override", "message"), MISTAKES)
def test_a_mistake_is_named_with_its_rule(composers, override, message):
    with pytest.raises(SettingError, match=message):
        checked(composers["stylize"]([override]), "stylize")


def test_a_network_may_leave_out_what_most_share(composers):
    network = checked(composers["stylize"](["network=resnet18"]), "stylize").network
    assert network.mean == [0.485, 0.456, 0.406]
    assert network.hypercolumn_taps is None
    assert network.key == "network"


def test_a_config_that_is_changed_changes_no_other(composers):
    composed = composers["stylize"]([])
    checked(composed, "stylize").plain["steps"] = 7
    assert checked(composed, "stylize").steps != 7


@pytest.mark.parametrize(
    ("hint", "words", "fitting", "others"),
    [
        (bool, "true or false", [True], [1, "true", None]),
        (float | None, "a number or null", [1, 1.5, None], [True, "1"]),
        (int | list[int], "a whole number or a list of whole numbers", [1, [], [2]], [1.0, [1.5], None]),
        (list[str | None], "a list of text or null", [["a", None]], ["a", [1]]),
        (
            tuple[float, float],
            "a list of 2 numbers",
            [[0.9, 1]],
            [[], [1.0], [1.0, 2.0, 3.0], ["1", "2"], 1.0],
        ),
        (tuple[int, ...], "a list of whole numbers", [[], [1, 2, 3]], [[1.5]]),
        (dict[str, int], "a mapping", [{"a": 1}], [{"a": "b"}, []]),
    ],
)
def test_types_in_words(hint, words, fitting, others):
    assert in_words(hint) == words
    assert all(fits(value, hint) for value in fitting)
    assert not any(fits(value, hint) for value in others)


@pytest.mark.parametrize(
    ("key", "asked"),
    [
        ("images.size", "stylize --help images.size"),
        ("batchnorm", "stylize --help batchnorm"),
        ("network.builder.of_a_user", "stylize --help network.builder"),
        ("recipe.epochs", "train --help recipe.epochs"),
        ("nothing", "stylize --help"),
    ],
)
def test_a_remedy_names_the_command_that_explains_a_key(key, asked):
    assert seen(key) == f"`swag {asked}` explains it."

"""The short form of `python -m tests.fuzz`."""

import pytest

from tests.fuzz.harness import BASES, KINDS, Case, Session

COUNT, SEED = 120, 1


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A session of commands, which ends with the tests."""
    with Session(tmp_path_factory.mktemp("fuzz")) as session:
        yield session


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("entry", "number"), [(entry, n) for entry, base in BASES.items() for n in range(len(base))]
)
def test_a_command_without_a_mistake_is_a_run(session, entry, number):
    assert session.judged(Case(entry, session.base(entry, number), unread=False))[0] == "run"


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default")
def test_a_mistaken_command_is_a_run_or_one_clear_message(session):
    judged = [(case, *session.judged(case)) for case in session.cases(COUNT, SEED)]
    wrong = [
        f"{verdict}: {case}\n{said}" for case, verdict, said in judged if verdict not in ("run", "message")
    ]
    assert not wrong, "\n".join(wrong)
    assert sum(verdict == "run" for _, verdict, _ in judged) > COUNT // 20


REFUSED = {
    "stylize": [
        "objective.match=nonsense", "objective.smoothed_deepest=-1", "objective.content_decay=inf", "demystifying_units=nonsense",
        "sweep.workers=-5", "sweep.max_cells=0", "coarsest=-1", "coarsest=nan", "+measures.nonsense=1", "keep.checkpoint_seconds=nan",
        "start_noise=inf", "feather=1e30", "seed=-1", "seed=99999999999999999999", "steps=99999999999999999999", "result=nonsense",
        "guards.explosion=inf", "guards.patience=0.5", "execution.in_place=-1", "force=2", "tracking.mode=nonsense", "tracking.every=-1",
        "tracking.timeout=inf", "batchnorm=nonsense", "network.builder.leak=-0.1", "network.builder.units=10000", "network.builder.width=99999999999999999999",
        "network.head=[nonsense]", "network.imagenet=nonsense", "network.imagenet=ResNet18_Weights.NONSENSE", "network.taps.conv1=nonsense", "optimizer.history=0.5", "hydra.searchpath=[pkg://nope]",
        "hydra.searchpath=[file:///nope]", "transformations='${oc.decode:null}'", f"network={5000 * 'a'}", "last_step_scale=inf",
    ],
    "measure_activations": ["images.size=1e8", "images.size=99999999999999999999", "images.source.limit=99999999999999999999"],
    "train_classifier": [
        "data.size=100000000", "checkpoint_seconds=nan", "snapshots=[nan]", "recipe.epochs=99999999999999999999", "recipe.lr=inf",
        "seed=-1", "recipe.clip=nan",
    ],
    "train_feedforward": ["recipe.lr=nan", "recipe.beta1=1", "recipe.steps=0", "checkpoint_seconds=-1", "shown=[inf]"],
    "transfer": ["alpha=nan", "feather=-1", "tile=0.5", "compute.batch_size=0"],
}  # fmt: skip


@pytest.mark.parametrize("entry", REFUSED)
def test_nonsense_is_refused_before_anything_is_computed(session, entry):
    for override in REFUSED[entry]:
        case = Case(entry, (*session.base(entry), override), unread=True)
        verdict, said = session.judged(case)
        assert verdict == "message", (override, verdict, said)


def test_a_setting_without_effect_leaves_the_id(session):
    base = session.base("stylize")
    expected = session.run_id("stylize", base)
    for override in (
        "feather=0.1",
        "stop.every=7",
        "stop.of=image",
        "demystifying_units=demystifying",
        "mean_one=false",
        "seed=5",
        "coarsest=64",
        "objective.smoothed_deepest=2",
        "objective.smoothed_taps='conv*'",
    ):
        assert session.run_id("stylize", (*base, override)) == expected, override
    for active in (
        ["start=noise", "seed={}"],
        ["scales=[0.5,1.0]", "coarsest={}"],
        ["smoothing=swag", "objective.smoothed_deepest={}"],
    ):
        ids = {session.run_id("stylize", (*base, *(one.format(value) for one in active))) for value in (1, 2)}
        assert len(ids) == 2, active
    assert session.run_id("stylize", (*base, "stop.change=0.1", "stop.every=7")) != session.run_id(
        "stylize", (*base, "stop.change=0.1")
    )


@pytest.mark.parametrize("entry", KINDS)
def test_a_good_command_passes_the_check(session, entry):
    for number in range(len(BASES[entry])):
        assert session.run_id(entry, session.base(entry, number))

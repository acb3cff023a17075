"""Reports: their data, and their pages in a real Chromium."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from analysis.commands import main
from analysis.report.curves import Scale, read_curves
from analysis.report.markdown import render
from analysis.report.reference import REFERENCE, ROOT, Interval, write_reference
from analysis.report.site import Site
from analysis.report.sweep import write_report
from analysis.tables import read_tables
from experiments.asking import Wanted, compose_cells
from experiments.science import scientific
from swag_repro.runs.identity import Identity
from swag_repro.runs.store import Store
from tests.analysis.made import IMAGES, PAIRS, Outputs

HOSTILE = "<img src=x onerror=alert(1)>|x</script>"
NAMES = [*PAIRS[:2], (HOSTILE, "painting/9")]
PAINTED = [
    "experiment=fig1", "network=vgg19,resnet50", "weights=random", "smoothing=none,softmax", "measured_steps=[1,2,5]",
]  # fmt: skip
MEASURED = ["experiment=fig3", "network=resnet50,vgg19", "smoothing=none,softmax", "weights.seed=0,1"]


def fail(root: Path, overrides: list[str], entry: str = "stylize") -> None:
    """Leave a failed run of each cell."""
    for cell in compose_cells(overrides, entry):
        who = Identity(entry, 4, scientific(cell.config, entry), {"content/a": "a" * 64})
        claimed = Store(root).claim(who, config=cell.config, name=cell.config["name"], device="cpu")
        with pytest.raises(MemoryError), claimed:
            raise MemoryError("<b>no memory</b>")


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of a sweep with pictures that diverged and one that is gone, a failed cell and a missing one."""
    folder = tmp_path_factory.mktemp("painted")
    outputs = Outputs.of(folder / "outputs", PAINTED, pairs=NAMES)
    (outputs.paths[0] / "images" / "0.png").unlink()
    whole = [*PAINTED[:3], "smoothing=none,softmax,scale,power", PAINTED[4]]
    fail(folder / "outputs", [*PAINTED[:1], "network=vgg19", PAINTED[2], "smoothing=scale", PAINTED[4]])
    write_report(Wanted.of(whole, folder / "outputs"), folder)
    return folder / "report" / "fig1"


def data_of(page: Path, name: str) -> Any:
    """Return the data that a page hands to a script."""
    [found] = re.findall(
        f'<script type="application/json" id="{name}">(.*?)</script>', page.read_text("utf-8")
    )
    return json.loads(found)


class TestSweep:
    def test_every_run_and_cell_is_in_the_table(self, painted: Path) -> None:
        table = data_of(painted / "index.html", "runs-data")
        assert table["states"] == {"finished": 4, "missing": 3, "failed": 1}
        failed = [row for row in table["rows"] if "failed" in row]
        assert "MemoryError: <b>no memory</b>" in failed[0]

    def test_every_picture_has_a_place(self, painted: Path) -> None:
        shown = data_of(painted / "index.html", "pictures-data")
        states = [one["state"] for one in shown["pictures"]]
        assert len(states) == 8 * len(NAMES)
        assert {state: states.count(state) for state in states} == {
            "finished": 9, "diverged": 1, "unchanged": 1, "gone": 1, "failed": 3, "missing": 9,
        }  # fmt: skip
        assert shown["steps"] == [1, 2, 5]
        files = {one["file"] for one in shown["pictures"] if "file" in one}
        assert len(files) == 11
        assert all((painted / file).is_file() for file in files)

    def test_what_is_gone_or_failed_stands_at_the_top(self, painted: Path) -> None:
        said = (painted / "index.html").read_text("utf-8")
        assert "1 pictures can&#39;t be shown" in said
        assert "1 of 8 runs: failed" in said
        assert "1 of 12 pictures: diverged" in said

    def test_nothing_in_a_name_is_markup(self, painted: Path) -> None:
        said = (painted / "index.html").read_text("utf-8")
        assert "onerror" in said
        assert "<img src=x" not in said
        assert "<b>no memory" not in said

    def test_the_command_writes_it_again_and_explains_it(
        self, painted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        output = painted.parents[1] / "outputs"
        (tmp_path / "report" / "fig1" / "pictures").mkdir(parents=True)
        (tmp_path / "report" / "fig1" / "pictures" / "old.webp").touch()
        where = ["--output", str(output), "--results", str(tmp_path)]
        assert main(["report", *PAINTED, "--pairs", "2", *where]) == 0
        page, *notices = capsys.readouterr().out.splitlines()
        assert Path(page) == tmp_path / "report" / "fig1" / "index.html"
        assert "1 pictures can't be shown" in notices
        assert not (tmp_path / "report" / "fig1" / "pictures" / "old.webp").exists()
        assert len(data_of(Path(page), "pictures-data")["pictures"]) == 8
        assert main(["explain", page]) == 0
        assert "made by" in capsys.readouterr().out

    def test_a_name_stays_below_the_reports(self, tmp_path: Path) -> None:
        overrides = [*MEASURED[:1], "network=vgg19", "smoothing=none", "weights.seed=0", "name=.."]
        Outputs.of(tmp_path, overrides, "measure_activations")
        (tmp_path / "results" / "static").mkdir(parents=True)
        (tmp_path / "results" / "static" / "mine").touch()
        page, _ = write_report(Wanted.of(overrides, tmp_path), tmp_path / "results")
        assert page == tmp_path / "results" / "report" / "sweep" / "index.html"
        assert (tmp_path / "results" / "static" / "mine").exists()

    def test_no_runs(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "runs").mkdir()
        assert main(["report", *PAINTED, "--output", str(tmp_path), "--results", str(tmp_path)]) == 1
        assert "4 of 4 cells missing" in capsys.readouterr().err
        assert not (tmp_path / "report").exists()

    def test_only_failures(self, tmp_path: Path) -> None:
        fail(tmp_path, PAINTED)
        page, notices = write_report(Wanted.of(PAINTED, tmp_path), tmp_path)
        assert notices[0].startswith("No numbers or pictures are shown: ")
        assert data_of(page, "runs-data")["states"] == {"failed": 4}

    def test_runs_of_several_versions(self, tmp_path: Path) -> None:
        one, two = (
            compose_cells([*MEASURED[:1], f"network={name}"], "measure_activations")[0]
            for name in ("resnet50", "vgg19")
        )
        for version, cell in ((1, one), (2, two)):
            who = Identity(cell.entry, version, scientific(cell.config, cell.entry), IMAGES)
            with Store(tmp_path).claim(who, config=cell.config, name="fig3", device="cpu") as run:
                run.write_rows([])
        wanted = Wanted.of(
            [*MEASURED[:1], "network=resnet50,vgg19", "smoothing=none", "weights.seed=0"], tmp_path
        )
        page, notices = write_report(wanted, tmp_path)
        assert "version of the experiment" in notices[0]
        assert data_of(page, "runs-data")["states"] == {"not used": 2}


class TestCurves:
    def test_layers(self, tmp_path: Path) -> None:
        Outputs.of(tmp_path, MEASURED, "measure_activations")
        found = read_curves(read_tables(Wanted.of(MEASURED, tmp_path), partial=False))
        assert found is not None
        curves, table = found
        assert curves.axis == "rank of the layer"  # two networks, whose layers have other names
        assert len(curves.names) == 4
        assert "maximum, activations" in [panel.title for panel in curves.panels]
        for panel in curves.panels:
            assert all(
                10 <= point.y <= 196 and 58 <= point.x <= 330 for line in panel.lines for point in line
            )
        known = table[(table["statistic"] == "maximum") & (table["quantity"] == "activation")]
        maxima = next(panel for panel in curves.panels if panel.title == "maximum, activations")
        assert sum(map(len, maxima.lines)) == len(known)

    def test_many_lines_are_averaged(self, tmp_path: Path) -> None:
        temperatures = ",".join(map(str, range(1, 15)))
        overrides = [
            *MEASURED[:1],
            "network=vgg19",
            "smoothing=softmax",
            f"smoothing.temperature={temperatures}",
            "weights.seed=0",
        ]
        Outputs.of(tmp_path, overrides, "measure_activations")
        found = read_curves(read_tables(Wanted.of(overrides, tmp_path), partial=False))
        assert found is not None
        assert found[0].names == [""]
        assert "averaged over" in found[0].note

    def test_an_axis_that_spans_much_is_logarithmic(self) -> None:
        scale = Scale.of([1, 100], 0, 100)
        assert scale(10) == pytest.approx(50, abs=0.1)
        assert [label for _, label in scale.ticks()] == ["1", "2", "5", "10", "20", "50", "100"]
        assert Scale.of([-1, 1], 0, 100)(0) == 50
        assert Scale.of([3, 3], 0, 100)(3) == 50


# --- In a browser -----------------------------------------------------------------------------------------

CHROMIUM = shutil.which("chromium")

in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser: Any, painted: Path) -> Iterator[Any]:
    """The report's page; at the end there was no error, and no request that left the folder."""
    with visit(browser, painted / "index.html") as page:
        yield page


@contextmanager
def visit(browser: Any, path: Path, root: Path | None = None, **options: Any) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1280, "height": 900}, **options)
    wrong: list[str] = []
    page.on(
        "console",
        lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    folder = (root or path.parent).as_uri()
    page.on("request", lambda request: None if request.url.startswith(folder) else wrong.append(request.url))
    page.goto(path.as_uri())
    yield page
    page.close()
    assert not wrong


def until(page: Any, reached: Callable[[], bool]) -> None:
    """Wait for something; a page with so strict a policy runs no text as a script, as Playwright's own wait needs."""
    for _ in range(100):
        if reached():
            return
        page.wait_for_timeout(50)
    pytest.fail("it did not come")


def serious(page: Any, within: str = "body") -> list[str]:
    """Return what axe-core calls serious or worse."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page, context=within, options={"preload": False}).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def clip(page: Any) -> str:
    return str(page.evaluate("document.getElementById('over').style.clipPath"))


@in_chromium
class TestPages:
    def test_the_slider_moves_by_mouse_and_by_keys(self, opened: Any) -> None:
        assert clip(opened) == "inset(0px 50% 0px 0px)"
        stage = opened.locator("#stage")
        stage.scroll_into_view_if_needed()
        box = stage.bounding_box()
        opened.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2)
        assert 70 < float(clip(opened).split()[1].rstrip("%")) < 80
        before = float(clip(opened).split()[1].rstrip("%"))
        opened.keyboard.press("ArrowRight")
        assert float(clip(opened).split()[1].rstrip("%")) == before - 1

    def test_two_pictures_are_chosen_and_flipped(self, opened: Any) -> None:
        pictures = opened.locator("#grid .picture button")
        pictures.nth(2).click()
        assert opened.locator("#right-name").inner_text().startswith(pictures.nth(2).get_attribute("title"))
        assert opened.locator('#grid [aria-pressed="true"]').count() == 2
        opened.click("#flip")
        assert clip(opened) == "inset(0px 100% 0px 0px)"
        opened.click("#blink")
        until(opened, lambda: clip(opened) == "none")
        opened.click("#blink")
        assert clip(opened) == "inset(0px 50% 0px 0px)"

    def test_the_grid_is_by_any_two_settings(self, opened: Any) -> None:
        opened.select_option("#rows", label="network")
        opened.select_option("#columns", label="smoothing")
        assert opened.locator("#grid tbody tr").count() == 2
        assert opened.locator("#grid thead th").count() == 4
        assert opened.locator("#others select").count() == 1  # the pair
        opened.select_option("#others select", label=f"{HOSTILE} × painting/9")
        assert HOSTILE in opened.locator("#grid img").first.get_attribute("alt")
        opened.check("#unfinished")
        assert set(opened.locator("#grid .badge").all_inner_texts()) == {"failed", "missing"}

    def test_one_slider_shows_all_pictures_after_a_step(self, opened: Any) -> None:
        first = opened.locator("#grid .picture img").first
        finished = first.get_attribute("src")
        opened.focus("#step")
        opened.keyboard.press("ArrowLeft")
        assert opened.locator("#step-name").inner_text() == "after 5"
        assert first.get_attribute("src") != finished
        opened.keyboard.press("End")
        assert first.get_attribute("src") == finished

    def test_the_table_is_filtered_and_sorted(self, opened: Any) -> None:
        rows = opened.locator("#runs-table tbody tr")
        assert rows.count() == 8
        opened.fill("#filter", "failed memory")
        assert rows.count() == 1
        opened.fill("#filter", "")
        opened.click("#runs-table thead button:text-is('smoothing')")
        assert opened.locator("[aria-sort='ascending']").inner_text().startswith("smoothing")
        first = opened.locator("#grid .run").first
        first.click()
        assert rows.count() == 1

    def test_ten_thousand_rows_scroll(self, browser: Any, painted: Path) -> None:
        table = data_of(painted / "index.html", "runs-data")
        table["rows"] = [[f"{number:016d}", *table["rows"][0][1:]] for number in range(10_000)]
        path, found = painted / "many.html", (painted / "index.html").read_text("utf-8")
        before, _, after = found.partition('id="runs-data">')
        path.write_text(
            f'{before}id="runs-data">{json.dumps(table)}</script>{after.partition("</script>")[2]}', "utf-8"
        )
        with visit(browser, path) as page:
            rows = page.locator("#runs-table tbody tr:not(.spacer)")
            assert page.locator("#count").inner_text() == "10000 of 10000 rows"
            assert rows.count() < 100
            page.evaluate("document.getElementById('runs-frame').scrollTop = 1e9")
            until(page, lambda: "0000000000009999" in rows.last.inner_text())
            page.click("#runs-table thead button >> nth=0")
            page.click("#runs-table thead button >> nth=0")  # downwards
            assert "0000000000009999" in rows.first.inner_text()
            assert rows.count() < 100
        path.unlink()

    def test_all_panels_are_read_at_one_place(self, opened: Any) -> None:
        place = opened.locator("#place")
        assert place.inner_text() == "5"
        opened.focus("#panels")
        opened.keyboard.press("Home")
        assert place.inner_text() == "1"
        value = opened.locator("#readings tbody td").first.inner_text()
        assert re.fullmatch(r"[\d.e-]+( ± [\d.e-]+)?", value)
        guides = opened.locator("#panels .guide")
        assert len(set(guides.evaluate_all("found => found.map(one => one.getAttribute('x1'))"))) == 1
        opened.locator("#panels svg").first.hover()
        assert place.inner_text() == "2"

    def test_dark_is_kept(self, opened: Any) -> None:
        ground = "getComputedStyle(document.body).backgroundColor"
        light = opened.evaluate(ground)
        opened.click("#theme")
        dark = opened.evaluate(ground)
        assert dark != light
        opened.reload()
        assert opened.evaluate(ground) == dark

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_axe_finds_nothing_serious(self, scheme: str, browser: Any, painted: Path) -> None:
        with visit(browser, painted / "index.html", color_scheme=scheme) as page:
            assert not serious(page)

    def test_a_phone_scrolls_down_only(self, opened: Any) -> None:
        opened.set_viewport_size({"width": 360, "height": 740})
        assert opened.evaluate("document.documentElement.scrollWidth") == 360

    def test_pictures_below_are_loaded_when_they_come(self, opened: Any) -> None:
        assert set(
            opened.locator("#grid .picture img").evaluate_all("found => found.map(one => one.loading)")
        ) == {"lazy"}


# --- The whole project ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reference(tmp_path_factory.mktemp("reference")).parent


class TestReference:
    def test_a_page_for_each_claim_and_each_figure(self, reference: Path) -> None:
        asked = json.loads((REFERENCE / "claims.json").read_text("utf-8"))["claims"]
        assert len(list((reference / "claims").iterdir())) == len(asked)
        pictures = [path for path in REFERENCE.iterdir() if path.suffix in (".png", ".jpg")]
        pages = [path.read_text("utf-8") for path in (reference / "figures").iterdir()]
        assert sum(page.count('<figure class="hero">') for page in pages) == len(pictures)

    def test_docs_show_what_would_be_written_now(self, reference: Path) -> None:
        committed = ROOT / "docs" / "report" / "reference"
        names = {path.relative_to(reference) for path in reference.rglob("*") if path.is_file()}
        assert {path.relative_to(committed) for path in committed.rglob("*") if path.is_file()} == names
        for name in names:
            assert (committed / name).read_bytes() == (reference / name).read_bytes(), (
                f"stale: make report ({name})"
            )

    def test_every_link_has_its_file(self, reference: Path) -> None:
        pages = list(reference.rglob("*.html"))
        assert len(pages) > 50
        for page in pages:
            for link in re.findall('(?:href|src)="([^"]+)"', page.read_text("utf-8")):
                file, _, place = link.partition("#")
                if not file.startswith("https://"):
                    target = page.parent / file if file else page
                    assert target.is_file(), f"{page.name}: {link}"
                    assert not place or f'id="{place}"' in target.read_text("utf-8"), f"{page.name}: {link}"

    def test_the_front_page_has_the_findings(self, reference: Path) -> None:
        said = (reference / "index.html").read_text("utf-8")
        findings = re.findall(
            "<li>\n<p>|<li><strong>", said.partition('class="findings"')[2].partition("</section>")[0]
        )
        assert len(findings) == 3

    def test_a_verdict_and_its_answer_stand_on_the_page(self, reference: Path) -> None:
        said = (reference / "claims" / "K4.html").read_text("utf-8")
        [row] = [
            row for row in json.loads((REFERENCE / "claims.json").read_text("utf-8"))["questions"]
            if row["claim"].startswith("K4") and row["role"] == "primary"
        ]  # fmt: skip
        assert f"{row['mean']:.3g} [{row['low']:.3g}, {row['high']:.3g}]" in said
        assert "swag stylize -m experiment=mechanism_pretrained" in said

    def test_without_a_checkout(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("analysis.report.reference.ROOT", tmp_path)
        assert main(["report", "--reference", "--results", str(tmp_path / "results")]) == 1
        assert "no README.md" in capsys.readouterr().err
        assert not (tmp_path / "results").exists()

    def test_it_stands_alone(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["report", "experiment=fig3", "--reference"]) == 2
        assert "--reference" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("expected", "side"), [("more than", (3, 100)), ("less than", (0, 3)), ("within", (2, 3))]
)  # fmt: skip
def test_an_interval_stands_beside_what_the_claim_says(expected: str, side: tuple[int, int]) -> None:
    row = {"low": -1.0, "mean": 1.0, "high": 3.0, "threshold": 2.0, "expected": expected}
    drawn = Interval.of(row)
    places = {0: 0.0, 2: drawn.expected[0], 3: drawn.threshold, 100: 100.0}
    assert 0 < drawn.low < drawn.mean < drawn.threshold < drawn.high < 100
    assert drawn.expected == (places[side[0]], places[side[1]])
    assert drawn.threshold - drawn.mean == pytest.approx(drawn.high - drawn.threshold, abs=0.02)


def test_markup_in_a_text_is_text(tmp_path: Path) -> None:
    (tmp_path / "numbers.csv").write_text("a,b\n1,2\n")
    text = f"# {HOSTILE}\n\n[click](javascript:alert(1)) [there](numbers.csv) [gone](other.md) ![{HOSTILE}](none.png)"
    made = render(text, tmp_path, Site(tmp_path / "site", "x"), "../", {})
    assert "<img" not in made
    assert "<script" not in made
    assert 'href="javascript' not in made
    assert '<a href="../files/numbers.csv">there</a>' in made
    assert "gone" in made
    assert "other.md" not in made


@in_chromium
@pytest.mark.parametrize(
    ("page", "theme", "within"),
    [
        ("index.html", "light", "body"),
        ("claims/C09.html", "dark", "body"),
        ("figures/mechanism_pretrained.html", "light", "body"),
        ("glance.html", "dark", "body"),
        ("record.html", "light", "article > :nth-child(-n + 40)"),  # axe takes as long as a page is
    ],
)
def test_pages_of_the_project(page: str, theme: str, within: str, browser: Any, reference: Path) -> None:
    with visit(browser, reference / page, root=reference) as opened:
        if theme == "dark":
            opened.click("#theme")
        assert not serious(opened, within)
        opened.set_viewport_size({"width": 360, "height": 740})
        assert opened.evaluate("document.documentElement.scrollWidth") == 360

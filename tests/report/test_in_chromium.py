"""The page as a reader meets it: opened in Chromium, and clicked."""

import numpy as np
import pytest
from browser import PROGRAM, Browser
from stored import CONDITIONS, compared, evaluated, profiled, sha

from edgecnn.measure import store
from edgecnn.report import write

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="there is no chromium (Debian package chromium) on the PATH"),
]

NETWORKS, PRECISIONS, THREADS = (
    ("mobilenet", "resnet", "squeezenet"),
    ("float32", "int8"),
    (1, 2, 4, 8, 16, 32),
)
#: Elements of the page by JavaScript.
POINTS = "document.querySelectorAll('#tradeoff .scatterlayer .trace path.point')"
ROWS = "document.querySelectorAll('#results tbody tr')"
PICKED = "document.getElementById('picked-name').textContent"
LAYERS = [
    {"name": f"conv{i}", "operator": "Conv", "ms": 0.1 * i, "share": 0.1, "macs": 10**6} for i in range(5)
]
ROOFLINE = {
    "intensity": 20.0,
    "achieved_gflops": 30.0,
    "peak_gflops": 100.0,
    "peak_gbps": 10.0,
    "bound": "compute",
    "share": 0.3,
}


def results():
    """36 profiles: the more threads, the faster and (to have a front) the less accurate."""
    for row, network in enumerate(NETWORKS):
        for precision in PRECISIONS:
            for threads in THREADS:
                name = f"{network}_{precision}_{threads}"
                extra = {"layers": LAYERS, "roofline": ROOFLINE} if precision == "int8" else {}
                yield profiled(
                    name,
                    (row + 1) * 40 / threads,
                    architecture=network,
                    precision=precision,
                    conditions={**CONDITIONS, "threads": threads},
                    bytes=(row + 1) * 10**6,
                    lineage=[
                        {
                            "what": "export",
                            "parameters": {"opset": 18},
                            "metrics": {},
                            "seconds": 1.5,
                            "parent": None,
                        }
                    ],
                    **extra,
                )
                yield evaluated(name, 0.9 - threads / 100 - row / 50)
    yield compared("mobilenet_int8_1", "mobilenet_float32_1", 0.5)
    yield compared("resnet_int8_1", "resnet_float32_1", 1.5)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGECNN_RESULTS", str(folder / "results.sqlite"))
        for result in results():
            store.append(
                result.kind, result.values, result.samples if result.samples is not None else np.zeros(1)
            )
        report = write(folder / "report.html")
    browser = Browser(folder / "profile")
    browser.open(report.path)
    yield browser
    browser.close()


@pytest.fixture(autouse=True)
def everything(page):
    """Each test begins with all that there is."""
    page.click("document.querySelector('button[type=reset]')")
    assert count(page) == 36


def count(page):
    """The number of points, which the words beside the controls must say too."""
    points = page.ask(f"{POINTS}.length")
    assert page.ask("document.getElementById('count').textContent") == f"{points} of 36 shown"
    return points


def chip(text):
    return f"[...document.querySelectorAll('.chip')].find((chip) => chip.textContent.startsWith('{text}'))"


def test_nothing_is_fetched_and_nothing_complains(page):
    assert [url for url in page.requests if not url.startswith(("data:", "blob:"))] == [
        page.ask("location.href")
    ]
    assert page.ask("performance.getEntriesByType('resource').length") == 0
    assert page.complaints == []


def test_a_fetch_would_be_stopped_by_the_policy(page):
    stopped = page.ask("""new Promise((done) => {
        addEventListener('securitypolicyviolation', (event) => done(event.effectiveDirective), {once: true});
        fetch('http://127.0.0.1:9/').then(() => done('fetched'), () => null);
    })""")
    page.complaints.clear()  # of this one
    assert stopped == "connect-src"


def test_no_button_sends_a_chart_away(page):
    titles = page.ask("[...document.querySelectorAll('.modebar-btn')].map((button) => button.dataset.title)")
    known = {"Download plot as a PNG", "Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"}
    assert known == set(titles)
    assert page.ask("document.querySelectorAll('a[href]').length") == 0


def test_chips_of_one_facet_add_up_and_facets_narrow(page):
    page.click(chip("int8"))
    assert count(page) == 18
    page.click(chip("resnet"))
    assert count(page) == 6
    page.click(chip("squeezenet"))
    assert count(page) == 12
    page.click(chip("int8"))
    assert count(page) == 24


def test_a_facet_with_one_value_is_not_offered(page):
    offered = "[...document.querySelectorAll('fieldset:not([hidden]) legend')]"
    assert page.ask(f"{offered}.map((legend) => legend.textContent)") == ["Network", "Precision"]


def test_the_search_finds_part_of_a_name(page):
    page.click("document.getElementById('search')")
    page.type("_INT8_16")
    assert count(page) == 3


def test_the_front_is_what_nothing_beats(page):
    # Of one network more threads are faster and less accurate, and the first network beats the others.
    names = page.ask(f"[...{ROWS}].map((row) => row.cells[0].textContent)")
    marked = [name for name in names if name.endswith(" ●")]
    assert sorted(marked) == sorted(f"mobilenet_float32_{threads}.onnx ●" for threads in THREADS)


def test_a_click_on_a_row_shows_all_about_it(page):
    page.click(f"{ROWS}[3]")
    name = page.ask(f"{ROWS}[3].cells[0].textContent").removesuffix(" ●")
    assert page.ask(PICKED) == name
    assert page.ask("document.getElementById('picked-lineage').textContent") == "export opset 18, 1.5 s"
    assert sha(name.removesuffix(".onnx"))[:12] in page.ask(
        "document.getElementById('picked-figures').textContent"
    )


def test_a_click_on_a_point_shows_all_about_it(page):
    page.click(chip("int8"))
    page.click(chip("resnet"))
    before = page.ask(PICKED)
    page.click(f"{POINTS}[3]")
    assert page.ask(PICKED) != before
    assert page.ask(PICKED) in [f"resnet_int8_{threads}.onnx" for threads in THREADS]


def test_another_axis_moves_the_points(page):
    title = "document.querySelector('#tradeoff .xtitle').textContent"
    assert page.ask(title) == "latency, median (ms)"
    page.ask("""(() => {
        const select = document.getElementById('x-axis');
        select.value = [...select.options].find((one) => one.text === 'size').value;
        select.dispatchEvent(new Event('change'));
    })()""")
    assert page.ask(title) == "size (MB)"
    traces = "document.getElementById('tradeoff').data.filter((trace) => trace.customdata)"
    assert page.ask(f"[...new Set({traces}.flatMap((trace) => [...trace.x]))].sort()") == [1, 2, 3]


def test_axes_that_nothing_measured_are_not_offered(page):
    names = page.ask("[...document.getElementById('x-axis').options].map((one) => one.text)")
    assert "energy per image" not in names and "multiply-accumulates" in names


def test_the_table_is_sorted_by_the_head_that_is_clicked(page):
    cells = f"[...{ROWS}].map((row) => row.cells[0].textContent.replace(' ●', ''))"
    page.click("document.querySelector('#results th button')")
    names = page.ask(cells)
    assert names == sorted(names)
    page.click("document.querySelector('#results th button')")
    assert page.ask(cells) == names[::-1]


def test_layers_and_roofline_appear_where_they_were_measured(page):
    hidden = "['layers-section', 'roofline-section'].map((id) => document.getElementById(id).hidden)"
    page.click(chip("float32"))
    assert page.ask(hidden) == [True, True]
    page.click(chip("float32"))
    page.click(chip("int8"))
    assert page.ask(hidden) == [False, False]
    assert page.ask("document.querySelectorAll('#layers .barlayer .point').length") == len(LAYERS)
    assert page.ask("document.querySelectorAll('#roofline .scatterlayer path.point').length") == 18


def test_conditions_are_those_that_are_the_same_and_those_that_differ(page):
    assert "a CPU" in page.ask("document.getElementById('same-conditions').textContent")
    heads = page.ask(
        "[...document.querySelectorAll('#different-conditions th')].map((head) => head.textContent)"
    )
    assert heads == ["file", "measured", "threads"]


def test_each_latency_shown_has_a_box(page):
    page.click(chip("resnet"))
    assert page.ask("document.querySelectorAll('#latencies .boxlayer .trace.boxes').length") == 12


def test_comparisons_have_a_point_with_its_interval_and_a_row(page):
    assert page.ask("document.querySelectorAll('#comparisons path.point').length") == 2
    assert page.ask("document.querySelectorAll('#comparisons .xerror').length") == 2
    rows = page.ask(
        "[...document.querySelectorAll('#comparisons-table tbody tr')].map((row) => row.textContent)"
    )
    assert "mobilenet_int8_1.onnx" in rows[0] and "mobilenet_float32_1.onnx" in rows[0]
    assert "0.5 (0.49 to 0.51)faster" in rows[0] and "1.5 (1.47 to 1.53)slower" in rows[1]


def test_the_search_finds_comparisons_by_either_file(page):
    page.click("document.getElementById('search')")
    page.type("resnet_float32_1.")
    assert page.ask("document.querySelectorAll('#comparisons-table tbody tr').length") == 1


def test_a_page_of_comparisons_alone_shows_them(page, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECNN_RESULTS", str(tmp_path / "results.sqlite"))
    store.append("compare", compared("a", "b", 0.5).values)
    before = page.ask("location.href")
    page.open(write(tmp_path / "r.html").path)
    found = page.ask("document.querySelectorAll('#comparisons-table tbody tr').length")
    page.call("Page.navigate", url=before)
    page.wait_for(lambda: page.ask(f"document.readyState === 'complete' && {POINTS}.length > 0"))
    assert found == 1 and page.complaints == []


def test_a_bar_of_a_layer_names_its_kernel(page):
    page.click(chip("int8"))
    page.click(f"{ROWS}[0]")
    assert page.ask("[...document.getElementById('layers').data[0].text]") == ["Conv"] * len(LAYERS)


def test_the_page_follows_the_readers_colours(page):
    light = page.ask("getComputedStyle(document.body).backgroundColor")
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert page.ask("getComputedStyle(document.body).backgroundColor") != light
    ink = page.ask("getComputedStyle(document.body).color")
    page.wait_for(
        lambda: page.ask("getComputedStyle(document.querySelector('#tradeoff .xtitle')).fill") == ink
    )
    page.call("Emulation.setEmulatedMedia", features=[])


def test_long_names_leave_the_charts_their_room(page, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECNN_RESULTS", str(tmp_path / "results.sqlite"))
    rows = [{**layer, "name": f"/backbone/stage/{layer['name']}/{'x' * 200}"} for layer in LAYERS]
    result = profiled("a" * 120, layers=rows, roofline={**ROOFLINE, "peak_gflops": 1234567.0})
    store.append("profile", result.values, result.samples)
    before = page.ask("location.href")
    page.open(write(tmp_path / "r.html").path)
    shares = [
        page.ask(f"document.querySelector('#{chart} .nsewdrag').getBoundingClientRect().width")
        / page.ask(f"document.getElementById('{chart}').getBoundingClientRect().width")
        for chart in ("layers", "latencies")
    ]
    named = page.ask("[...document.querySelectorAll('#layers .ytick')].map((tick) => tick.textContent)")
    title, ticks = (
        page.ask(f"document.querySelector('#roofline {part}').getBoundingClientRect().{side}")
        for part, side in ((".ytitle", "right"), (".yaxislayer-above", "left"))
    )
    page.call("Page.navigate", url=before)
    page.wait_for(lambda: page.ask(f"document.readyState === 'complete' && {POINTS}.length > 0"))
    assert min(shares) > 0.5 and all(f"conv{i}/" in "".join(named) for i in range(5)) and title <= ticks


def test_a_name_is_text_and_never_markup(page, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECNN_RESULTS", str(tmp_path / "results.sqlite"))
    result = profiled("a<img src=x>", architecture="<i>b</i>", notes=["<b>c</b>"])
    store.append("profile", result.values, result.samples)
    before = page.ask("location.href")
    page.open(write(tmp_path / "r.html").path)
    picked = page.ask(PICKED)
    made = page.ask("document.querySelectorAll('img, i, b').length")
    page.click(f"{ROWS}[0]")  # there is no accuracy, hence no trade-off to mark it in
    page.call("Page.navigate", url=before)
    page.wait_for(lambda: page.ask(f"document.readyState === 'complete' && {POINTS}.length > 0"))
    assert picked == "a<img src=x>.onnx" and made == 0
    assert page.complaints == []

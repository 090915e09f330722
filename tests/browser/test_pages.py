"""The pages in a real Chromium, against a cluster of their own that `understudy up` starts.

Every page is watched: a request to another host, an error on the console or an uncaught exception fails the test that saw it.
"""

import json
import os
import random
import re
import subprocess
import tempfile
import unittest
import urllib.request
from urllib.parse import urlsplit

from playwright.sync_api import expect, sync_playwright

PROGRAM = os.environ["UNDERSTUDY_BIN"]
CHROMIUM = os.environ["CHROMIUM"]
PICTURES = os.environ.get("PICTURES")  # a folder for screenshots to be looked at
PATIENCE_MS = 30_000
EVIL = '"><img src=x onerror="window.__x=1"><script>window.__x=1</script>'


def up():
    """Starts a cluster of three nodes; gives its process and what it says about itself."""
    for _ in range(5):
        folder = tempfile.TemporaryDirectory(prefix="understudy-browser-")
        port = random.randrange(20_000, 30_000, 100)
        words = [PROGRAM, "--json", "up", "--workers", "2", "--dir", folder.name, "--port", str(port)]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        line = process.stdout.readline()
        if line:
            return folder, process, json.loads(line)
        process.wait()
    raise RuntimeError("understudy up does not come up")


def setUpModule():
    global folder, process, told, playwright, browser
    folder, process, told = up()
    playwright = sync_playwright().start()
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


def tearDownModule():
    browser.close()
    playwright.stop()
    process.terminate()
    process.wait(timeout=30)
    folder.cleanup()


def curl(url, data=None):
    request = urllib.request.Request(url, data, {"content-type": "text/plain"} if data else {})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read().decode()


class Pages(unittest.TestCase):
    def setUp(self):
        self.faults = []
        self.url = told["url"]

    def page(self, **options):
        """A fresh browser's page that notes every fault."""
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE_MS)
        self.addCleanup(context.close)
        page = context.new_page()
        own = urlsplit(self.url).netloc
        page.on("request", lambda r: urlsplit(r.url).netloc == own or self.faults.append(f"asked {r.url}"))
        page.on("console", lambda m: m.type == "error" and self.faults.append(f"console: {m.text}"))
        page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        self.addCleanup(lambda: self.assertEqual(self.faults, []))
        return page

    def home(self, **options):
        page = self.page(**options)
        page.goto(self.url)
        expect(page.locator("#conn")).to_have_text("live", timeout=PATIENCE_MS)
        page.evaluate("window.__mark = 1")
        return page

    def submit(self, page, kind, payload):
        """Submits by hand and gives the row of the new job."""
        before = set(self.ids(page))
        page.fill("#class", kind)
        page.fill("#payload", payload)
        page.get_by_role("button", name="Submit job").click()
        return self.new_row(page, before)

    def new_row(self, page, before):
        expect(page.locator("#told")).to_contain_text("is accepted", timeout=PATIENCE_MS)
        new = [job for job in self.ids(page) if job not in before]
        self.assertEqual(len(new), 1, "one job, one row")
        return page.locator(f'[data-job-id="{new[0]}"]')

    def ids(self, page):
        return page.eval_on_selector_all("#jobs [data-job-id]", "rows => rows.map(row => row.dataset.jobId)")

    def succeeded(self, row, result):
        expect(row).to_have_attribute("data-state", "succeeded", timeout=PATIENCE_MS)
        expect(row).to_contain_text(result)

    def test_two_jobs_submitted_by_hand_succeed_without_a_reload(self):
        page = self.home()
        self.succeeded(self.submit(page, "echo", "hello there"), "hello there")
        self.succeeded(self.submit(page, "python", "print(6 * 7)"), "42")
        self.assertEqual(page.evaluate("window.__mark"), 1, "the page was never loaded anew")

    def test_a_list_that_comes_late_takes_no_row_away(self):
        page = self.home()
        held = []

        def hold(route):
            if held:
                route.continue_()
            else:
                held.append((route, route.fetch()))

        page.route("**/api/v1/jobs?limit=*", hold)
        with page.expect_request("**/api/v1/jobs?limit=*"):
            self.assertIn("id", json.loads(curl(self.url + "/api/v1/jobs?class=echo", data=b"from elsewhere")))
        for _ in range(PATIENCE_MS // 50):
            if not held:
                page.wait_for_timeout(50)
        self.assertEqual(len(held), 1)
        # The list of this moment is on its way; it arrives after the next job has its row.
        row = self.submit(page, "echo", "newer than the list")
        row.evaluate("row => { row.mark = 1; }")
        route, answer = held[0]
        route.fulfill(response=answer)
        self.succeeded(row, "newer than the list")
        self.assertEqual(row.evaluate("row => row.mark"), 1, "the row was never taken away")

    def test_a_reload_forgets_nothing(self):
        page = self.home()
        row = self.submit(page, "echo", "kept")
        self.succeeded(row, "kept")
        before = page.eval_on_selector_all("#jobs tr", "rows => rows.map(row => row.innerText)")
        page.reload()
        after = page.eval_on_selector_all("#jobs tr", "rows => rows.map(row => row.innerText)")
        self.assertEqual(before, after)

    def test_the_crown_moves_when_the_master_is_stopped_from_a_shell(self):
        page = self.home()
        crown = page.locator('#nodes article:has(.crown:not([hidden]))')
        expect(crown).to_have_count(1)
        master = crown.get_attribute("data-node")
        url = next(node["url"] for node in told["nodes"] if node["name"] == master)
        self.assertEqual(curl(url + "/stop"), "True")
        expect(page.locator(f'[data-node="{master}"]')).to_have_attribute("data-stopped", "true", timeout=PATIENCE_MS)
        expect(crown).to_have_count(1, timeout=PATIENCE_MS)
        expect(crown).not_to_have_attribute("data-node", master, timeout=PATIENCE_MS)
        expect(crown).to_have_attribute("data-role", "leader")
        expect(page.locator("#conn")).to_have_text("live", timeout=PATIENCE_MS)
        self.succeeded(self.submit(page, "echo", "without the master"), "without the master")
        page.get_by_role("button", name=f"Resume {master}").click()
        page.get_by_role("button", name="Confirm").click()
        expect(page.locator(f'[data-node="{master}"]')).to_have_attribute("data-alive", "true", timeout=PATIENCE_MS)
        expect(page.locator(f'[data-node="{master}"]')).to_have_attribute("data-stopped", "false")
        self.assertEqual(page.evaluate("window.__mark"), 1)

    def test_a_node_is_stopped_only_after_a_confirmation(self):
        page = self.home()
        worker = page.locator('#nodes article[data-role="worker"]').first.get_attribute("data-node")
        box = page.locator(f'[data-node="{worker}"]')
        page.get_by_role("button", name=f"Stop {worker}").click()
        expect(page.locator("#confirm")).to_be_visible()
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#confirm")).to_be_hidden()
        expect(box).to_have_attribute("data-stopped", "false")
        page.get_by_role("button", name=f"Stop {worker}").click()
        page.get_by_role("button", name="Confirm").click()
        expect(box).to_have_attribute("data-stopped", "true", timeout=PATIENCE_MS)
        page.get_by_role("button", name=f"Resume {worker}").click()
        page.get_by_role("button", name="Confirm").click()
        expect(box).to_have_attribute("data-stopped", "false", timeout=PATIENCE_MS)
        expect(box).to_have_attribute("data-alive", "true", timeout=PATIENCE_MS)

    def test_the_two_buttons_of_the_seed_make_and_send_a_payload(self):
        page = self.home()
        page.get_by_role("button", name="Generate payload").click()
        self.assertEqual(page.input_value("#class"), "python")
        text = page.input_value("#payload")
        found = re.fullmatch(r"import time\n\ntime\.sleep\((\d+)\)\nprint\((\d+) \+ (\d+)\)\n", text)
        self.assertTrue(found and 10 <= int(found[1]) <= 60, text)
        page.fill("#payload", text.replace(f"sleep({found[1]})", "sleep(0.1)"))
        before = set(self.ids(page))
        page.get_by_role("button", name="Send payload").click()
        self.succeeded(self.new_row(page, before), str(int(found[2]) + int(found[3])))

    def test_the_loss_of_a_majority_is_an_alert_that_goes_away(self):
        page = self.home()
        expect(page.get_by_role("alert")).to_have_count(0)
        stopped = [node["url"] for node in told["nodes"][1:]]
        for url in stopped:
            self.assertEqual(curl(url + "/stop"), "True")
        expect(page.get_by_role("alert")).to_contain_text("majority", timeout=PATIENCE_MS)
        for url in stopped:
            self.assertEqual(curl(url + "/stop"), "False")
        expect(page.get_by_role("alert")).to_have_count(0, timeout=PATIENCE_MS)
        self.succeeded(self.submit(page, "echo", "back again"), "back again")

    def test_every_node_serves_the_same_page(self):
        for node in told["nodes"]:
            self.url = node["url"]
            page = self.home()
            expect(page.locator("#node")).to_have_text(node["name"])
            expect(page.locator("#nodes article")).to_have_count(len(told["nodes"]))

    def test_foreign_text_stays_text(self):
        page = self.home()
        row = self.submit(page, "echo", EVIL)
        self.succeeded(row, EVIL)
        row.get_by_role("link").click()
        expect(page.locator("#output")).to_have_text(EVIL)
        for path in ["/", page.url]:
            page.goto(path if path.startswith("http") else self.url + path)
            self.assertIsNone(page.evaluate("window.__x ?? null"))
            self.assertEqual(page.locator("main img, main script").count(), 0)

    def test_the_page_works_without_a_script(self):
        page = self.page(java_script_enabled=False)
        page.goto(self.url)
        page.get_by_role("button", name="Generate payload").click()
        self.assertEqual(page.input_value("#class"), "python")
        page.fill("#payload", "print('plain form')")
        page.get_by_role("button", name="Submit job").click()
        self.assertRegex(page.url, r"/jobs/[0-9A-Z]{26}$")
        expect(page.locator("main")).to_contain_text("plain form")
        page.goto(self.url)
        page.get_by_role("button", name=re.compile("^Stop ")).first.click()
        expect(page.get_by_role("button", name="Confirm")).to_be_visible()

    def test_a_phone_shows_all_without_scrolling_sideways(self):
        for scheme in ["light", "dark"]:
            wide = self.home(color_scheme=scheme, viewport={"width": 1280, "height": 900})
            phone = self.home(color_scheme=scheme, viewport={"width": 360, "height": 740})
            self.assertLessEqual(phone.evaluate("document.documentElement.scrollWidth"), 360)
            if PICTURES:
                wide.screenshot(path=f"{PICTURES}/{scheme}.png", full_page=True)
                phone.screenshot(path=f"{PICTURES}/{scheme}-phone.png", full_page=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)

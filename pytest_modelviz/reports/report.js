
// @ts-check
// What report.html does beyond showing its text: search, filters, keys, copying, and modes of comparing pictures.
// Without it, all of the page can be read. It reads the page's own elements alone, and sets text, never markup.
"use strict";

(() => {
  /** @typedef {{element: HTMLElement, fold: HTMLDetailsElement, link: HTMLElement | null, text: string}} Check */

  const MODES = ["side", "swipe", "onion", "blink", "difference"];
  const BLINK_MILLISECONDS = 800;

  /** @param {string} id @returns {HTMLElement | null} */
  const byId = (id) => document.getElementById(id);

  /**
   * @template {Element} T
   * @param {ParentNode} root
   * @param {string} selector
   * @param {new (...args: any[]) => T} kind
   * @returns {T[]}
   */
  const all = (root, selector, kind) => {
    /** @type {T[]} */
    const found = [];
    for (const element of root.querySelectorAll(selector)) {
      if (element instanceof kind) found.push(element);
    }
    return found;
  };

  /** @param {string} text */
  const say = (text) => {
    const said = byId("said");
    if (said) said.textContent = text;
  };

  // ---- copying

  /** @param {HTMLElement} source */
  const copyByHand = (source) => {
    const range = document.createRange();
    range.selectNodeContents(source);
    const selection = getSelection();
    selection?.removeAllRanges();
    selection?.addRange(range);
    return document.execCommand("copy");
  };

  /** @param {HTMLButtonElement} button */
  const copy = async (button) => {
    const source = button.previousElementSibling;
    if (!(source instanceof HTMLElement)) return;
    let done = false;
    try {
      await navigator.clipboard.writeText(source.textContent ?? "");
      done = true;
    } catch {
      done = copyByHand(source);
    }
    button.textContent = done ? "Copied" : "Press Ctrl+C";
    say(done ? "Copied" : "The command is selected");
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };

  for (const button of all(document, "button.copy", HTMLButtonElement)) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }

  // ---- pictures

  const isCalm = matchMedia("(prefers-reduced-motion: reduce)");
  /** @type {Set<HTMLElement>} */
  const blinking = new Set();

  /** @param {HTMLElement} figure @param {boolean} blinks */
  const setBlinking = (figure, blinks) => {
    if (blinks) blinking.add(figure); else blinking.delete(figure);
    const button = figure.querySelector("button.pause");
    if (button) button.textContent = blinks ? "Pause" : "Blink";
  };

  setInterval(() => {
    for (const figure of blinking) figure.classList.toggle("flipped");
  }, BLINK_MILLISECONDS);

  /** @param {HTMLElement} figure @param {string} mode */
  const setMode = (figure, mode) => {
    const buttons = all(figure, ".modes button", HTMLButtonElement);
    if (!buttons.some((button) => button.dataset.mode === mode)) return;
    figure.dataset.mode = mode;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    setBlinking(figure, mode === "blink" && !isCalm.matches);
  };

  for (const figure of all(document, "figure.picture", HTMLElement)) {
    const stage = figure.querySelector(".stage");
    if (!(stage instanceof HTMLElement)) continue;
    for (const tools of all(figure, ".modes", HTMLElement)) tools.hidden = false;
    for (const button of all(figure, ".modes button", HTMLButtonElement)) {
      button.addEventListener("click", () => setMode(figure, button.dataset.mode ?? "side"));
    }
    const [slider] = all(figure, ".slider input", HTMLInputElement);
    const slide = () => stage.style.setProperty("--at", `${slider.value}%`);
    slider.addEventListener("input", slide);
    /** @param {PointerEvent} event */
    const drag = (event) => {
      if (figure.dataset.mode !== "swipe" || !(event.buttons & 1)) return;
      const { left, width } = stage.getBoundingClientRect();
      slider.value = String(Math.round(100 * (event.clientX - left) / width)); // which keeps to its ends
      slide();
    };
    stage.addEventListener("pointerdown", drag);
    stage.addEventListener("pointermove", drag);
    figure.querySelector("button.pause")?.addEventListener("click", () => setBlinking(figure, !blinking.has(figure)));
    figure.querySelector("button.other")?.addEventListener("click", () => {
      setBlinking(figure, false);
      figure.classList.toggle("flipped");
    });
  }

  // pictures beside the page, which may have been left behind
  for (const image of all(document, "img.linked", HTMLImageElement)) {
    image.addEventListener("error", () => {
      image.hidden = true;
      if (image.nextElementSibling instanceof HTMLElement) image.nextElementSibling.hidden = false;
    });
  }

  // ---- checks: search, filters, order

  const list = byId("articles");
  const [form] = all(document, "#filters", HTMLFormElement);
  const [search] = all(document, "#search", HTMLInputElement);
  const [sort] = all(document, "#sort", HTMLSelectElement);
  /** @type {Check[]} */
  const checks = all(document, "#articles > article", HTMLElement).flatMap((element) => {
    const fold = element.querySelector("details.check");
    const link = document.querySelector(`nav a[href="#${CSS.escape(element.id)}"]`)?.closest("li");
    return fold instanceof HTMLDetailsElement ? [{ element, fold, link: link ?? null, text: "" }] : [];
  });
  const selects = all(document, "#filters select[data-filter]", HTMLSelectElement);

  /** @param {Check} check */
  const textOf = (check) => {
    if (!check.text) {
      const parts = all(check.element, "summary h3, .brief, .heading, .found, figcaption, .diff", Element);
      const change = byId(check.element.dataset.group ?? "");
      if (change) parts.push(...all(change, "h3, .effect, .said", Element));
      check.text = parts.map((part) => part.textContent ?? "").join("\n").toLowerCase();
    }
    return check.text;
  };

  const visible = () => checks.filter((check) => !check.element.hidden);

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const check of checks) {
      const chosen = selects.every(({ value, dataset }) => !value || check.element.dataset[dataset.filter ?? ""] === value);
      check.element.hidden = !(chosen && words.every((word) => textOf(check).includes(word)));
      if (check.link) check.link.hidden = check.element.hidden;
    }
    const count = byId("count");
    const shown = visible().length;
    if (count) count.textContent = `${shown} of ${checks.length} ${checks.length === 1 ? "check" : "checks"}`;
    const nothing = byId("nothing");
    if (nothing) nothing.hidden = shown > 0;
  };

  const order = () => {
    checks.sort((a, b) => sort.value === "name"
      ? (a.element.dataset.name ?? "").localeCompare(b.element.dataset.name ?? "", undefined, { numeric: true })
      : Number(a.element.dataset.severity) - Number(b.element.dataset.severity));
    for (const { element, link } of checks) {
      list?.append(element);
      link?.parentElement?.append(link);
    }
    for (const last of all(document, "nav li.last", HTMLElement)) last.parentElement?.append(last);
  };

  /** @type {Check | null} */
  let current = null;

  /** @param {Check} check */
  const select = (check) => {
    current?.element.classList.remove("current");
    current?.link?.querySelector("a")?.removeAttribute("aria-current");
    current = check;
    check.element.classList.add("current");
    check.link?.querySelector("a")?.setAttribute("aria-current", "true");
  };

  /** @param {Check} check */
  const goTo = (check) => {
    select(check);
    check.element.focus({ preventScroll: true });
    check.element.scrollIntoView({ block: "start" });
  };

  /** @param {number} step */
  const move = (step) => {
    const shown = visible();
    if (!shown.length) return;
    const at = current ? shown.indexOf(current) : -1;
    const next = at < 0 ? (step > 0 ? 0 : shown.length - 1) : Math.min(shown.length - 1, Math.max(0, at + step));
    goTo(shown[next]);
  };

  const follow = () => {
    const check = checks.find(({ element }) => element.id === location.hash.slice(1));
    if (!check) return;
    if (check.element.hidden) {
      form.reset();
      filter();
    }
    check.fold.open = true;
    goTo(check);
  };

  if (form) {
    form.hidden = false;
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(() => { order(); filter(); }));
    sort.addEventListener("change", order);
    byId("clear")?.addEventListener("click", () => form.reset());
    const unfold = byId("unfold");
    unfold?.addEventListener("click", () => {
      const opens = visible().some(({ fold }) => !fold.open);
      for (const { fold } of visible()) fold.open = opens;
      unfold.textContent = opens ? "Fold all" : "Unfold all";
    });
    for (const check of checks) check.element.addEventListener("focusin", () => select(check));
    filter();
    addEventListener("hashchange", follow);
    for (const link of all(document, 'a[href^="#check-"]', HTMLAnchorElement)) {
      link.addEventListener("click", () => { if (link.hash === location.hash) follow(); });
    }
    follow();
  }

  // ---- keys

  const [help] = all(document, "#help", HTMLDialogElement);
  const showHelp = () => help.showModal();
  byId("keys")?.addEventListener("click", showHelp);

  /** @param {string} mode */
  const setModes = (mode) => {
    const element = (current ?? visible()[0])?.element;
    if (!element) return;
    for (const figure of all(element, "figure.picture", HTMLElement)) setMode(figure, mode);
  };

  /** @param {EventTarget | null} target */
  const takesKeys = (target) => target instanceof HTMLElement
    && (target.matches("input, select, textarea") || target.isContentEditable);

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (takesKeys(event.target)) {
      if (event.key === "Escape" && event.target instanceof HTMLElement) event.target.blur();
      return;
    }
    if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (event.key === "/") search?.focus();
    else if (event.key === "?") showHelp();
    else if (/^[1-5]$/.test(event.key)) setModes(MODES[Number(event.key) - 1]);
    else if (event.key === "Enter" && current && event.target === current.element) current.fold.open = !current.fold.open;
    else return;
    event.preventDefault();
  });

  // ---- printing: what is folded would not be there

  /** @type {HTMLDetailsElement[]} */
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all(document, ".check, .more", HTMLDetailsElement).filter((fold) => !fold.open && !fold.closest("[hidden]"));
    for (const fold of opened) fold.open = true;
  });
  addEventListener("afterprint", () => { for (const fold of opened) fold.open = false; });
})();

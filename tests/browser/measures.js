// What only a browser knows of a page. Each function is called by name from test_page_in_browser.py.

/** A colour of CSS as [red, green, blue, alpha] in 0 to 1, by painting it. */
const painted = (() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  return (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].map((part) => part / 255);
  };
})();

/** Relative luminance, WCAG 2.2. */
const luminance = (colour) => {
  const [red, green, blue] = colour.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};

/** The first opaque colour behind an element. */
const behind = (element) => {
  for (let each = element; each; each = each.parentElement) {
    const colour = painted(getComputedStyle(each).backgroundColor);
    if (colour[3] > 0.99) return colour;
  }
  return [1, 1, 1, 1];
};

const contrast = (one, other) => {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
};

const shown = (element) => element.checkVisibility({ visibilityProperty: true }) && element.getBoundingClientRect().width > 1;

/** Every element that has text of its own and is seen, with the contrast to what is behind it. */
const contrasts = () =>
  [...document.body.querySelectorAll("*")]
    .filter((element) => shown(element) && [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()))
    .map((element) => {
      const style = getComputedStyle(element);
      const ink = element instanceof SVGElement ? style.fill : style.color;
      return [`${element.tagName}.${element.getAttribute("class")}: ${element.textContent.trim().slice(0, 30)}`, contrast(painted(ink), behind(element))];
    });

const brightness = () => luminance(behind(document.body));

const overflow = () => document.documentElement.scrollWidth - innerWidth;

const openAll = () => document.querySelectorAll("details").forEach((each) => (each.open = true));

const box = (element) => {
  const { left, right, top, bottom } = element.getBoundingClientRect();
  return { left, right, top, bottom };
};

/** Boxes of the pictures, of their legends and of the texts in them, and the size of the smallest text, all in pixels. */
const charts = () =>
  [...document.querySelectorAll("svg[role=img]")].map((svg) => {
    const texts = [...svg.querySelectorAll("text")];
    const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    return {
      box: box(svg),
      legend: box(svg.parentElement.querySelector(".legend")),
      texts: texts.map(box),
      smallest: Math.min(...texts.map((text) => parseFloat(getComputedStyle(text).fontSize))) * scale,
      marks: [...svg.querySelectorAll(".mark, .line")].map(box),
    };
  });

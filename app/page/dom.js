// Elements without markup from data: text is only ever set as text.

export function byId(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`no element #${id}`);
  return element;
}

// Create an element; properties are set as properties, those that start with aria-, data- or role as attributes.
export function create(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (/^(aria-|data-|role$|for$)/.test(name)) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

// A small square in an expression's colour; the colour is set by a property, which the content policy allows.
export function createSwatch(color) {
  const swatch = create("span", { className: "swatch", "aria-hidden": "true" });
  swatch.style.backgroundColor = color;
  return swatch;
}

export function show(element, isShown) {
  element.hidden = !isShown;
}

// What the script adds; every page works without it: "/" leads to the search, and parts marked data-live stay true, or say that they do not.
"use strict";

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const search = document.querySelector("input[type=search]");
  if (!search) return;
  event.preventDefault();
  search.focus();
});

// One element becomes as another, touching only what differs, so that focus, selection and ticks stay where they are.
function become(old, now) {
  if (old.isEqualNode(now)) return;
  const alike = old.nodeName === now.nodeName && old.childNodes.length === now.childNodes.length;
  if (old.nodeType !== Node.ELEMENT_NODE || !alike) {
    old.replaceWith(now.cloneNode(true));
    return;
  }
  for (const { name } of [...old.attributes]) if (!now.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of now.attributes) old.setAttribute(name, value);
  const news = [...now.childNodes];
  [...old.childNodes].forEach((child, at) => become(child, news[at]));
}

// What an element says, but for how long ago things are.
function timeless(element) {
  const copy = element.cloneNode(true);
  for (const time of copy.querySelectorAll("time")) time.textContent = "";
  return copy;
}

// What somebody is about to send stays what they saw: they are told that it is another by now.
function outdate(part) {
  part.removeAttribute("data-live");
  const told = document.createElement("p");
  const again = document.createElement("a");
  told.className = "notice";
  told.setAttribute("role", "status");
  again.href = location.href;
  again.textContent = "Show it as it is now";
  told.append("This has changed since it was loaded. ", again);
  part.before(told);
}

// The parts of the page as they are now; ticks outlive rows that moved.
function refresh(html) {
  const now = new DOMParser().parseFromString(html, "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const ticked = [...part.querySelectorAll("input:checked")].map((box) => box.value);
    const same = now.getElementById(part.id);
    if (!same) continue;
    if (part.querySelector("form")) {
      if (!timeless(part).isEqualNode(timeless(same))) outdate(part);
      continue;
    }
    become(part, same);
    for (const box of document.getElementById(part.id).querySelectorAll("input[type=checkbox]"))
      if (ticked.includes(box.value)) box.checked = true;
  }
}

function look() {
  const label = document.createElement("label");
  const pause = document.createElement("input");
  const told = document.createElement("span");
  pause.type = "checkbox";
  label.className = "live";
  label.append(pause, " Pause · ", told);
  document.querySelector("h1").after(label);
  let source = null;
  const say = (words) => { told.textContent = words; };
  const turn = () => {
    if (source) source.close();
    source = null;
    if (pause.checked || document.hidden) return say("paused");
    say("…");
    source = new EventSource(location.href);
    source.addEventListener("page", (event) => { refresh(event.data); say("live"); });
    source.addEventListener("lost", () => say("the database cannot be reached: what you see is older"));
    source.onerror = () => say(source.readyState === EventSource.CLOSED ? "not live: load the page again" : "the server cannot be reached: what you see is older");
  };
  pause.addEventListener("change", turn);
  document.addEventListener("visibilitychange", turn);
  // With a stream open, a browser would not keep the page, and what was typed in it, for who comes back.
  addEventListener("pagehide", () => { if (source) source.close(); });
  addEventListener("pageshow", (event) => { if (event.persisted) turn(); });
  turn();
}

if (document.querySelector("[data-live]")) look();

'use strict';
// Brings the children of one element into the state of another's with as few changes as it takes, so that what a reader
// has open, focused or selected stays. Elements with the same data-key are the same thing.

/** Make `now`'s children equal to `next`'s. Returns the keyed elements that are new. */
function morphChildren(now, next) {
  const keyed = new Map();
  for (const child of now.children) if (child.dataset.key !== undefined) keyed.set(child.dataset.key, child);
  const fresh = [];
  let cursor = now.firstChild;
  for (const wanted of [...next.childNodes]) {
    const found = matchFor(wanted, cursor, keyed);
    if (!found) {
      now.insertBefore(document.importNode(wanted, true), cursor);
      const made = cursor ? cursor.previousSibling : now.lastChild;
      if (keyOf(made) !== undefined) fresh.push(made);
      continue;
    }
    if (found === cursor) cursor = cursor.nextSibling;
    else now.insertBefore(found, cursor);
    if (found.nodeType === Node.ELEMENT_NODE) {
      morphAttributes(found, wanted);
      fresh.push(...morphChildren(found, wanted));
    } else if (found.data !== wanted.data) {
      found.data = wanted.data;
    }
  }
  while (cursor) {
    const after = cursor.nextSibling;
    cursor.remove();
    cursor = after;
  }
  return fresh;
}

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.dataset.key : undefined;
}

function matchFor(wanted, cursor, keyed) {
  const key = keyOf(wanted);
  if (key !== undefined) {
    const found = keyed.get(key);
    keyed.delete(key);
    return found && found.nodeName === wanted.nodeName ? found : null;
  }
  return cursor && cursor.nodeName === wanted.nodeName && keyOf(cursor) === undefined ? cursor : null;
}

function morphAttributes(now, next) {
  for (const { name, value } of next.attributes) if (now.getAttribute(name) !== value) now.setAttribute(name, value);
  // Whether a call is open is the reader's business, not the server's.
  for (const { name } of [...now.attributes]) if (!next.hasAttribute(name) && name !== 'open') now.removeAttribute(name);
}

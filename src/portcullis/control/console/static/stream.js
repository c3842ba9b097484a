// What happens at the gate, as it happens, while somebody looks at the page.

import { announce } from "./dom.js";

/**
 * Call `happened(event)` for each event of the stream at `path`, and `missed()` whenever some may
 * have been missed: after a gap, and after the page was out of sight (a browser keeps few
 * connections to one host, so a page that nobody sees holds none).
 */
export function follow(path, happened, missed) {
  let source = null;
  let opened = false;

  function open() {
    source = new EventSource(path);
    source.onopen = () => {
      document.body.dataset.live = "on";
      if (opened) missed();
      opened = true;
    };
    source.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.kind === "resync") missed();
      else happened(event);
    };
    source.onerror = () => {
      document.body.dataset.live = "off";
      if (source.readyState === EventSource.CLOSED) announce("No more live updates: reload.");
    };
  }

  function seen() {
    if (document.hidden && source) {
      source.close();
      source = null;
    } else if (!document.hidden && !source) {
      open();
    }
  }

  document.addEventListener("visibilitychange", seen);
  seen();
}

// Times on a page that does not change by itself.

import { tick } from "./dom.js";

tick();
setInterval(tick, 1000);

// Says when the login is about to end.

const banner = document.getElementById("login-ends");
const { now, expires } = document.body.dataset;
const WARNING = 300;

const left = Number(expires) - Number(now);
// a timer holds 2^31 ms at most; a login lasts twelve hours at most
setTimeout(() => (banner.hidden = false), Math.max(0, left - WARNING) * 1000);
setTimeout(() => (banner.firstChild.textContent = "Your login has ended. "), Math.max(0, left) * 1000);

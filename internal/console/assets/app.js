// The console's script. Every page works without it; with it times are local, sessions are followed, and keys are copied by a button.
"use strict";
(() => {
	document.documentElement.classList.add("js");
	const all = (root, selector) => [...(root.matches && root.matches(selector) ? [root] : []), ...root.querySelectorAll(selector)];

	// Times: how long ago, or the browser's own time of day.
	const units = [[60, 1, "s"], [3600, 60, "min"], [172800, 3600, "h"], [Infinity, 86400, "days"]];
	function ago(then) {
		const s = Math.round((Date.now() - then) / 1000);
		if (s >= 0 && s < 5) return "just now";
		const [, size, name] = units.find(([most]) => Math.abs(s) < most);
		const text = (s < 0 ? Math.round(-s / size) : Math.floor(s / size)) + " " + name;
		return s < 0 ? "in " + text : text + " ago";
	}
	function times(root) {
		for (const t of all(root, "time[datetime]")) {
			const then = new Date(t.dateTime);
			if (isNaN(then)) continue;
			t.textContent = t.dataset.relative ? ago(then.getTime()) : then.toLocaleTimeString();
			t.title = then.toLocaleString();
		}
	}

	// A session's page.
	const end = document.getElementById("end");
	const atEnd = () => !end || end.getBoundingClientRect().bottom <= window.innerHeight + 160;
	const toEnd = () => { if (end) end.scrollIntoView({ block: "end" }); };
	const newer = (on) => { const n = document.getElementById("new"); if (n) n.hidden = !on; };

	// What came stands in the place of what has its id, or at the end. What somebody opened or closed stays so.
	function put(html) {
		const box = document.createElement("template");
		box.innerHTML = html;
		const follow = atEnd();
		let added = false;
		for (const part of [...box.content.children]) {
			const old = part.id && document.getElementById(part.id);
			if (old) {
				for (const d of all(part, "details[id]")) {
					const was = document.getElementById(d.id);
					if (was && was.dataset.chosen) { d.open = was.open; d.dataset.chosen = "1"; }
				}
				old.replaceWith(part);
			} else if (part.classList.contains("entry")) {
				const timeline = document.getElementById("timeline");
				if (!timeline) continue;
				timeline.append(part);
				added = true;
			} else {
				continue;
			}
			times(part);
			if (window.htmx) window.htmx.process(part);
		}
		if (added) { const done = document.querySelector("#notice .good"); if (done) done.remove(); }
		if (follow) toEnd(); else if (added) newer(true);
	}

	function live(page) {
		let last = page.dataset.after, source = null, over = false;
		const lost = (html) => {
			const notice = document.getElementById("notice");
			notice.replaceChildren(html);
		};
		function say(tone, text, href, link) {
			const p = document.createElement("p");
			p.className = "notice lost " + tone;
			p.append(text + " ");
			if (href) {
				const a = document.createElement("a");
				a.href = href;
				a.textContent = link;
				p.append(a);
			}
			p.dataset.lost = "1";
			lost(p);
		}
		const found = () => { const p = document.querySelector("[data-lost]"); if (p) p.remove(); };
		function open() {
			if (source || over || document.hidden) return;
			source = new EventSource(page.dataset.live + "?after=" + encodeURIComponent(last));
			source.onopen = found;
			source.addEventListener("parts", (e) => { last = e.lastEventId || last; put(e.data); });
			source.addEventListener("over", () => { over = true; shut(); });
			source.onerror = () => {
				if (source && source.readyState === EventSource.CLOSED) {
					shut();
					again();
				} else {
					say("warn", "The connection is lost; trying again.");
				}
			};
		}
		function shut() { if (source) { source.close(); source = null; } }
		// A browser gives up on any answer that is no stream. The status says whether it is worth another try.
		async function again() {
			let status = 0;
			try {
				const r = await fetch(location.href, { redirect: "manual", cache: "no-store" });
				status = r.type === "opaqueredirect" ? 401 : r.status;
			} catch { /* no answer at all */ }
			if (status === 401) return say("bad", "You are signed out: the session ended, or its key is no longer good.", page.dataset.login, "Sign in again");
			if (status === 403 || status === 404) return say("bad", "This session can't be read any more with your key.");
			say("warn", "The connection is lost; trying again.");
			setTimeout(open, 5000);
		}
		// A browser has few connections to one host: a page that nobody looks at holds none.
		document.addEventListener("visibilitychange", () => { if (document.hidden) shut(); else open(); });
		window.addEventListener("pagehide", shut);
		window.addEventListener("pageshow", (e) => { if (e.persisted) open(); });
		open();
	}

	document.addEventListener("click", async (e) => {
		const copy = e.target.closest("[data-copy]");
		if (copy) {
			const from = document.getElementById(copy.dataset.copy);
			from.select();
			try {
				await navigator.clipboard.writeText(from.value);
			} catch {
				document.execCommand("copy"); // where a page without TLS may not use the clipboard otherwise
			}
			copy.textContent = "Copied";
			return;
		}
		if (e.target.closest("[data-to-end]")) { toEnd(); newer(false); return; }
		const summary = e.target.closest("summary");
		if (summary && summary.parentElement.id) summary.parentElement.dataset.chosen = "1";
	});
	document.addEventListener("keydown", (e) => {
		if (e.key === "Enter" && (e.ctrlKey || e.metaKey) && e.target.matches("[data-submit]")) {
			e.preventDefault();
			e.target.form.requestSubmit();
		}
	});
	// A form that leads to another page is sent once, however often its button is pressed.
	document.addEventListener("submit", (e) => {
		if (e.target.hasAttribute("hx-post") || e.target.method !== "post") return;
		if (e.target.dataset.sent) e.preventDefault();
		e.target.dataset.sent = "1";
	});
	window.addEventListener("pageshow", () => {
		for (const f of document.querySelectorAll("form[data-sent]")) delete f.dataset.sent;
	});
	document.addEventListener("change", (e) => {
		const into = e.target.dataset && e.target.dataset.adds && document.getElementById(e.target.dataset.adds);
		if (!into || !e.target.value) return;
		into.value = (into.value.trim() ? into.value.trim() + "\n" : "") + e.target.value;
		e.target.value = "";
	});
	window.addEventListener("scroll", () => { if (atEnd()) newer(false); }, { passive: true });
	document.addEventListener("htmx:after:request", () => {
		for (const p of document.querySelectorAll(":popover-open")) p.hidePopover();
	});
	document.addEventListener("htmx:after:swap", (e) => {
		times(document);
		if (e.target.id === "composer" || (e.detail && e.detail.ctx && e.detail.ctx.sourceElement && e.detail.ctx.sourceElement.id === "composer")) toEnd();
		const refused = document.querySelector("#notice .bad:not([data-seen])");
		if (refused) { refused.dataset.seen = "1"; refused.scrollIntoView({ block: "center" }); }
	});
	document.addEventListener("htmx:error", () => {
		const p = document.createElement("p");
		p.className = "notice bad";
		p.textContent = "The server doesn't answer. Nothing was changed; try again.";
		document.getElementById("notice").replaceChildren(p);
	});
	// What was just done is told once, not again with every reload.
	const address = new URL(location.href);
	if (address.searchParams.has("done")) {
		address.searchParams.delete("done");
		history.replaceState(history.state, "", address);
	}
	times(document);
	setInterval(() => times(document), 20000);
	const page = document.querySelector("[data-live]");
	if (page) {
		live(page);
		if (!location.hash && page.querySelector(".entry")) toEnd();
	}
})();

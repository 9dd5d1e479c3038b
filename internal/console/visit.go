package console

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/a-h/templ"
	"github.com/go-chi/chi/v5"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/member"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/fault"
)

// visit is one request for a page.
type visit struct {
	*door
	w       http.ResponseWriter
	r       *http.Request
	who     access.Subject
	token   string // of the cookie
	browser member.Browser
	org     string // the organization that the page is on, empty for none
	stream  bool
}

// handler answers a visit, or gives why not.
type handler func(v *visit) error

var (
	errNoPage    = fault.New(fault.NotFound, "there is no such page")
	errNoOrg     = fault.New(fault.NotFound, "there is no such organization, or your key has no access to it")
	errNoSession = fault.New(fault.NotFound, "there is no such session, or your key has no access to it")
	errForeign   = fault.New(fault.Forbidden, "the form came from another site, so nothing was done; open the page here and try again")
	errNoText    = fault.New(fault.Invalid, "a part of the address or the form is no valid text")
	errSignIn    = fault.New(fault.Unauthenticated, "sign in first")
)

// The page may use what this server serves and nothing else; no script or style stands in it, and nobody frames it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; " +
	"base-uri 'none'; frame-ancestors 'none'"

// headers are those of every page. The kit has said already that nothing of it is kept (Cache-Control) or guessed at (nosniff). Forms
// need the referrer's origin on this site: without it a browser that tells nothing else sends the origin null.
func headers(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// open answers whoever comes.
func (d *door) open(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		headers(w.Header())
		v := &visit{door: d, w: w, r: r}
		if c, err := r.Cookie(d.cookie); err == nil {
			v.token = c.Value
		}
		if err := v.answer(h); err != nil {
			v.refuse(err)
		}
	}
}

// page answers who is signed in.
func (d *door) page(h handler) http.HandlerFunc {
	return d.open(func(v *visit) error {
		if err := v.enter(); err != nil {
			return err
		}
		return h(v)
	})
}

// stream answers who is signed in with a stream.
func (d *door) stream(h handler) http.HandlerFunc {
	return d.open(func(v *visit) error {
		v.stream = true
		if err := v.enter(); err != nil {
			return err
		}
		return h(v)
	})
}

// maxForm bounds a form: a prompt of a MiB takes three times as much when every byte of it is escaped. formWait is how long it may take.
const (
	maxForm  = 4 << 20
	formWait = 10 * time.Second
)

func (v *visit) answer(h handler) error {
	if !isText(v.r.URL.Path) || !areTexts(v.r.URL.Query()) {
		return errNoText
	}
	if v.r.Method == http.MethodGet || v.r.Method == http.MethodHead {
		return h(v)
	}
	if err := v.foreign.Check(v.r); err != nil {
		return errForeign
	}
	rc := http.NewResponseController(v.w)
	_ = rc.SetReadDeadline(clock.Clock{}.Now().Add(formWait)) // not every connection has deadlines
	if isUpload(v.r) {                                        // read later, once it is known whose it is
		return h(v)
	}
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxForm)
	if err := v.r.ParseForm(); err != nil {
		return fault.Wrap(err, fault.Invalid, "the form can't be read, or is too large")
	}
	_ = rc.SetReadDeadline(time.Time{})
	if !areTexts(v.r.Form) {
		return errNoText
	}
	return h(v)
}

// isText reports whether the database can keep a text: PostgreSQL takes no NUL.
func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

func areTexts(fields url.Values) bool {
	for name, values := range fields {
		if !isText(name) || slices.ContainsFunc(values, func(s string) bool { return !isText(s) }) {
			return false
		}
	}
	return true
}

// enter finds out who the browser is. The credential is asked with every request: a browser can at any moment what its key can.
func (v *visit) enter() error {
	if v.token == "" {
		return errSignIn
	}
	who, err := v.kit.Enter(v.w, v.r, kit.Entry{Stream: v.stream, Guess: true, Who: func(ctx context.Context, remote netip.Addr) (access.Subject, error) {
		b, err := v.Members.Browser(ctx, v.token)
		if err != nil {
			return access.Subject{}, err
		}
		v.browser = b
		return v.auth.BrowserSubject(ctx, b, remote)
	}})
	v.who = who
	return err
}

func (v *visit) ctx() context.Context { return v.r.Context() }

func (v *visit) param(name string) string {
	s := chi.URLParam(v.r, name)
	if v.r.URL.RawPath != "" { // the router matched the escaped form
		if plain, err := url.PathUnescape(s); err == nil {
			return plain
		}
	}
	return s
}

// field gives a field of a posted form.
func (v *visit) field(name string) string { return strings.TrimSpace(v.r.PostFormValue(name)) }

// onOrg puts the page on the organization of its path. One that must not be seen answers like one that isn't.
func (v *visit) onOrg() error { return v.enterOrg(v.param("org")) }

func (v *visit) enterOrg(orgID string) error {
	if v.who.In(orgID) == 0 || orgID == "" {
		return errNoOrg
	}
	ok, err := v.Orgs.Exists(v.ctx(), orgID)
	if err != nil {
		return err
	}
	if !ok {
		return errNoOrg
	}
	v.org = orgID
	kit.OnOrg(v.ctx(), orgID)
	return nil
}

// can reports whether the page may offer something: what the use case asks is asked here to leave out what it would refuse.
func (v *visit) can(p access.Permission) bool {
	if p.Scope() == access.Enterprise {
		return v.who.Can(p, "")
	}
	return v.who.Can(p, v.org)
}

// partial reports whether the script asks for a part of the page rather than for the page.
func (v *visit) partial() bool { return v.r.Header.Get("Hx-Request") == "true" }

// show answers with a page, or with the part of it that the script asked for.
func (v *visit) show(status int, f frame, part templ.Component) error {
	if v.partial() {
		return v.write(status, part)
	}
	return v.write(status, document(f, part))
}

func (v *visit) write(status int, c templ.Component) error {
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	if err := c.Render(v.ctx(), v.w); err != nil && v.ctx().Err() == nil {
		_ = v.kit.Refusal(v.r, err) // the answer was begun: only the log can tell
	}
	return nil
}

// leave sends the browser to another page, the path being one of ours.
func (v *visit) leave(path string) error {
	if v.partial() {
		v.w.Header().Set("Hx-Redirect", v.base+path)
		v.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	http.Redirect(v.w, v.r, v.base+path, http.StatusSeeOther)
	return nil
}

// refuse answers what can't be done: who isn't signed in goes to sign in and comes back, everybody else is told why and what to do.
func (v *visit) refuse(err error) {
	if fault.Is(err, fault.Unauthenticated) && !v.stream {
		_ = v.leave(v.signInPath())
		return
	}
	e := v.kit.Refusal(v.r, err)
	if after := e.GetHeaders().Get("Retry-After"); after != "" {
		v.w.Header().Set("Retry-After", after)
	}
	switch {
	case v.stream:
		http.Error(v.w, e.Error(), e.GetStatus())
	case v.partial():
		v.w.Header().Set("Hx-Retarget", "#notice")
		v.w.Header().Set("Hx-Reswap", "innerHTML")
		_ = v.write(e.GetStatus(), problem(e.Error(), nextStep(e.GetStatus())))
	default:
		_ = v.write(e.GetStatus(), document(v.bareFrame("Not possible"), refusal(v.door, e.GetStatus(), e.Error(), nextStep(e.GetStatus()))))
	}
}

// signInPath is where to sign in and come back from.
func (v *visit) signInPath() string {
	q := url.Values{}
	if v.r.Method == http.MethodGet && !v.partial() && v.r.URL.Path != "/" {
		q.Set("next", v.r.URL.RequestURI())
	}
	if v.token != "" {
		q.Set("ended", "1")
	}
	if len(q) == 0 {
		return "/login"
	}
	return "/login?" + q.Encode()
}

// nextStep says what one may do about a refusal.
func nextStep(status int) string {
	switch status {
	case http.StatusForbidden:
		return "Ask an administrator for a role that allows it, or sign in with another key."
	case http.StatusNotFound:
		return "Check the address, or start from the overview."
	case http.StatusConflict:
		return "Reload the page to see what it is now."
	case http.StatusUnprocessableEntity, http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return "Change it and try again."
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return "Wait a moment and try again."
	}
	return "Try again; if it happens again, give the operator the request id."
}

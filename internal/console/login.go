package console

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/member"
	"gantry/internal/platform/fault"
)

// loginForm is what the sign-in page shows.
type loginForm struct {
	next  string // where to go afterwards, a path of ours
	ended bool   // somebody was signed in here before
	wrong string // why the key was refused
	hint  string
}

func (v *visit) loginPage() error {
	q := v.r.URL.Query()
	f := loginForm{next: ownPath(q.Get("next")), ended: q.Get("ended") != ""}
	if v.token != "" && !f.ended && v.enter() == nil {
		return v.leave(f.next)
	}
	return v.show(http.StatusOK, v.bareFrame("Sign in"), loginView(v.door, f))
}

// login signs a browser in with a key, which is not kept. A token that the browser had before ends: it may be somebody else's.
func (v *visit) login() error {
	key, next := v.field("key"), ownPath(v.field("next"))
	who, err := v.kit.Enter(v.w, v.r, kit.Entry{Guess: true, Who: func(ctx context.Context, remote netip.Addr) (access.Subject, error) {
		return v.auth.BrowserKey(ctx, key, remote)
	}})
	if err != nil {
		return v.loginRefused(err, key, next)
	}
	token, err := v.Members.SignIn(v.ctx(), who, key)
	if err != nil {
		return err
	}
	if v.token != "" {
		if err := v.Members.SignOut(v.ctx(), v.token); err != nil {
			return err
		}
	}
	v.setCookie(token.Reveal(), cookieAge)
	return v.leave(next)
}

func (v *visit) loginRefused(err error, key, next string) error {
	e := v.kit.Refusal(v.r, err)
	if e.GetStatus() >= http.StatusInternalServerError {
		return err
	}
	f := loginForm{next: next, wrong: "This key was not accepted: " + e.Error() + ".", hint: keyHint(key)}
	switch {
	case fault.Is(err, fault.RateLimited):
		v.w.Header().Set("Retry-After", e.GetHeaders().Get("Retry-After"))
		f.hint = "Wait a minute and try again."
	case errors.Is(err, member.ErrAddress):
		f.hint = "Ask from an address of the list. Whoever runs the server opens it by gantry admin ip-list clear."
	}
	return v.show(e.GetStatus(), v.bareFrame("Sign in"), loginView(v.door, f))
}

// keyHint says what to do about a key that was refused, by its form: never by what the database knows of it.
func keyHint(key string) string {
	switch {
	case key == "":
		return "Paste a key into the field."
	case strings.ContainsAny(key, " \t\r\n"):
		return "It has blanks in it: copy the key alone, from cog_ to its last character."
	case strings.HasPrefix(key, "cog_"), strings.HasPrefix(key, "apk_user_"):
		return "Check that it was copied whole. If it is revoked or expired, ask an administrator for another; " +
			"whoever runs the server makes one by gantry admin key."
	}
	return "Use a key that begins with cog_, or a personal key that begins with apk_user_."
}

func (v *visit) logout() error {
	if v.token != "" {
		if err := v.Members.SignOut(v.ctx(), v.token); err != nil {
			return err
		}
	}
	v.setCookie("", -1)
	return v.leave("/login")
}

// cookieAge is how long a browser keeps the cookie, in seconds. The server says by itself when the session is over.
const cookieAge = 7 * 24 * 60 * 60

func (v *visit) setCookie(value string, age int) {
	http.SetCookie(v.w, &http.Cookie{ //nolint:gosec // Secure where the public address is https: else browsers would drop it
		Name: v.cookie, Value: value, Path: v.base + "/", MaxAge: age, HttpOnly: true, Secure: v.secure, SameSite: http.SameSiteLaxMode,
	})
}

// ownPath takes a path to return to only when it is one of this site.
func ownPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") ||
		strings.ContainsAny(next, "\\\r\n\t") || strings.HasPrefix(u.Path, "/login") {
		return "/"
	}
	return next
}

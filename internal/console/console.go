// Package console is the door for people: pages that the server renders, which work without a script and are pleasanter with one.
//
// Like the doors for programs it holds forms, conversions and what things look like, and no rule: every page and every form calls the
// use cases with the subject of the browser's key, and what they refuse is refused here. What somebody may not do isn't offered either.
// Texts of agents, repositories and people are escaped wherever they stand; markdown is rendered without raw HTML (markdown.go).
package console

import (
	"net/http"
	"net/url"
	"strings"

	"gantry/internal/fleet"
	"gantry/internal/forge"
	"gantry/internal/kit"
	"gantry/internal/member"
	"gantry/internal/metric"
	"gantry/internal/org"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/page"
	"gantry/internal/playbook"
	"gantry/internal/session"
	"gantry/internal/usage"
)

// Rooms are the use cases behind the door.
type Rooms struct {
	Fleet     *fleet.Service
	Forge     *forge.Service
	Members   *member.Service
	Metrics   *metric.Service
	Orgs      *org.Service
	Playbooks *playbook.Service
	Sessions  *session.Service
	Usage     *usage.Service
	// Sealer seals the cursors of lists.
	Sealer *page.Sealer
	Clock  clock.Clock
	// PublicURL is the address under which browsers know the console.
	PublicURL *url.URL
}

// door is the console.
type door struct {
	Rooms
	kit     *kit.Kit
	auth    *member.Authenticator
	base    string // the path of the public address, empty without one: what every link begins with
	cookie  string
	secure  bool
	foreign *http.CrossOriginProtection
}

// New mounts the console's pages.
func New(k *kit.Kit, rooms Rooms) {
	d := &door{
		Rooms: rooms, kit: k, auth: rooms.Members.Authenticator(), base: strings.TrimSuffix(rooms.PublicURL.Path, "/"),
		secure: rooms.PublicURL.Scheme == "https", foreign: http.NewCrossOriginProtection(),
	}
	d.cookie = cookieName(d.secure, d.base)
	// A proxy may change the Host that a form's origin is held against. The public address is one by construction.
	_ = d.foreign.AddTrustedOrigin(rooms.PublicURL.Scheme + "://" + rooms.PublicURL.Host)
	r := k.Pages()
	r.Get(assetsPath+"{name}", d.asset)
	r.Get("/favicon.ico", d.asset)
	for path, h := range map[string]handler{
		"/login": (*visit).loginPage, // shows itself without a sign-in
	} {
		r.Get(path, d.open(h))
	}
	r.Post("/login", d.open((*visit).login))
	r.Post("/logout", d.open((*visit).logout))
	for path, h := range map[string]handler{
		"/":                                  (*visit).home,
		"/sessions":                          (*visit).home,
		"/orgs/{org}":                        (*visit).orgPage,
		"/orgs/{org}/sessions":               (*visit).sessionsPage,
		"/orgs/{org}/sessions/new":           (*visit).newSessionPage,
		"/orgs/{org}/keys":                   (*visit).keysPage,
		"/enterprise/keys":                   (*visit).keysPage,
		"/orgs/{org}/usage":                  (*visit).usagePage,
		"/enterprise/usage":                  (*visit).usagePage,
		"/sessions/{id}":                     (*visit).sessionPage,
		"/sessions/{id}/files/{file}":        (*visit).download,
		"/sessions/{id}/events/{seq}":        (*visit).payload,
		"/sessions/{id}/events/{seq}/output": (*visit).printed,
	} {
		r.Get(path, d.page(h))
	}
	for path, h := range map[string]handler{
		"/orgs/{org}/sessions":      (*visit).createSession,
		"/orgs/{org}/keys/{action}": (*visit).changeKeys,
		"/enterprise/keys/{action}": (*visit).changeKeys,
		"/sessions/{id}/message":    (*visit).sendMessage,
		"/sessions/{id}/{action}":   (*visit).changeSession,
	} {
		r.Post(path, d.page(h))
	}
	r.Get("/sessions/{id}/live", d.stream((*visit).live))
	k.Otherwise(d.open(func(v *visit) error { return errNoPage }))
}

// cookieName has the browser hold the cookie to what its name says, where it can.
func cookieName(secure bool, base string) string {
	switch {
	case secure && base == "":
		return "__Host-gantry"
	case secure:
		return "__Secure-gantry"
	}
	return "gantry"
}

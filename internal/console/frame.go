package console

import (
	"cmp"
	"net/http"
	"slices"

	"gantry/internal/access"
	"gantry/internal/platform/page"
)

// frame is what stands around a page.
type frame struct {
	door  *door
	title string
	nav   string // the entry of the menu that the page belongs to
	who   string // who is signed in, empty for nobody
	how   string // by which key
	org   place  // the organization that the page is on
	many  bool   // there may be other organizations to go to
	usage bool   // there is something to see on the page of usage, of the organization or of the enterprise
	// keys and enterprise say that the keys of the enterprise may be seen, or anything of it; enterprisePath is where.
	keys, enterprise bool
	enterprisePath   string
	notice           string
}

// place is an organization as pages name it.
type place struct{ id, name string }

// bareFrame is for pages that belong to no organization, or to nobody.
func (v *visit) bareFrame(title string) frame {
	f := frame{door: v.door, title: title}
	if v.browser.SignedIn() {
		f.who, f.how = nameOf(v.who), v.who.KeyName
		f.many, f.keys = v.who.OrgID == "", v.seesEnterpriseKeys()
		f.enterprise, f.enterprisePath = f.keys, "/enterprise/keys"
		if v.seesEnterpriseUsage() {
			f.enterprise, f.enterprisePath = true, "/enterprise/usage"
		}
	}
	return f
}

// frame is for pages of the organization that the visit is on.
func (v *visit) frame(title, nav string) (frame, error) {
	f := v.bareFrame(title)
	f.nav, f.notice, f.usage = nav, notices[v.r.URL.Query().Get("done")], v.seesUsage()
	if v.org == "" {
		return f, nil
	}
	names, err := v.Orgs.Names(v.ctx(), []string{v.org})
	f.org = place{v.org, cmp.Or(names[v.org], v.org)}
	return f, err
}

// notices are what a page may say of what was just done. They come by name, so that nobody's address can say something else.
var notices = map[string]string{
	"created":   "The session is in the queue. What happens shows here as it happens.",
	"sent":      "Your message is with the session.",
	"stop":      "The session has ended.",
	"archive":   "The session is archived: it no longer shows in the list.",
	"unarchive": "The session shows in the list again.",
	"approve":   "Your answer is with the agent.",
	"tags":      "The tags are changed.",
	"revoked":   "The key is revoked. It stops working everywhere within two seconds.",
	"removed":   "The service user is removed, and its keys with it.",
}

// nameOf is how somebody is called.
func nameOf(s access.Subject) string {
	return cmp.Or(s.Name, s.Email, s.ID)
}

// homeOrgs is how many organizations the overview lists at a time.
const homeOrgs = 50

// home leads to the organization's sessions, or lets choose among several.
func (v *visit) home() error {
	list, next, err := v.places()
	if err != nil {
		return err
	}
	if len(list) == 1 && next == "" && v.r.URL.Query().Get("after") == "" {
		if v.org = list[0].id; !v.can(access.ViewOrgSessions) {
			return v.leave(v.keysPath())
		}
		return v.leave(sessionsPath(v.org))
	}
	f := v.bareFrame("Organizations")
	return v.show(http.StatusOK, f, homeView(f, list, next))
}

func (v *visit) orgPage() error {
	if err := v.onOrg(); err != nil {
		return err
	}
	return v.leave(sessionsPath(v.org))
}

// places gives the organizations that the subject may go to, and the address of the rest.
func (v *visit) places() ([]place, string, error) {
	if v.who.OrgID == "" && v.who.Can(access.ManageOrganizations, "") {
		const scope = "console.orgs"
		r := page.Request{First: homeOrgs}
		if err := v.openCursor(scope, &r); err != nil {
			return nil, "", err
		}
		p, err := v.Orgs.List(v.ctx(), v.who, r)
		if err != nil {
			return nil, "", err
		}
		out := make([]place, len(p.Items))
		for i, o := range p.Items {
			out[i] = place{o.ID, o.Name}
		}
		next := ""
		if p.More {
			next = v.base + "/?after=" + v.Sealer.Seal(scope, p.End)
		}
		return out, next, nil
	}
	ids := v.who.Orgs()
	if v.who.OrgID != "" {
		ids = []string{v.who.OrgID}
	}
	names, err := v.Orgs.Names(v.ctx(), ids)
	out := make([]place, 0, len(names))
	for id, name := range names {
		out = append(out, place{id, name})
	}
	slices.SortFunc(out, func(a, b place) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.id, b.id)) })
	return out, "", err
}

// openCursor reads where a list goes on from the address.
func (v *visit) openCursor(scope string, r *page.Request) error {
	after := v.r.URL.Query().Get("after")
	if after == "" {
		return nil
	}
	pos, err := v.Sealer.Open(scope, after)
	r.After = pos
	return err
}

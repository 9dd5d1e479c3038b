package console

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"gantry/internal/access"
	"gantry/internal/member"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
)

// Keys are shown by where they belong: an organization's page has its service users and the older versions' keys, the enterprise's the
// service users of enterprise scope. A person sees their own everywhere.

const (
	keysListed   = 25  // service users, or keys of the older versions, on a page
	peopleListed = 200 // people that a personal key can be made for
	rolesListed  = 200
)

// keysView is the page of keys.
type keysView struct {
	door *door
	org  string // empty for the enterprise
	now  time.Time
	path string // of the page's actions
	with string // the id of the key that the browser is signed in with

	own      []member.OwnKey
	ownHere  bool // the person may make a personal key here
	robots   []robot
	next     string // the address of the next service users
	older    []member.OlderKey
	olderMax bool
	roles    []access.Role
	people   []choice

	sees      bool // service users may be read, whoever's they are
	lists     bool // they are shown, those that the organization made for itself at the least
	provision bool
	manage    bool // keys of service users may be made and revoked, and those of the older versions
	remove    bool // service users may be removed

	fresh  *freshKey
	wrong  string
	form   string // the form that is wrong
	filled url.Values
}

// robot is a service user with its keys.
type robot struct {
	member.ServiceUser
	keys []member.APIKey
	of   string // the name of its organization, on the enterprise's page
}

// freshKey is a key that was just made: the only time that its token is shown.
type freshKey struct {
	name, token, use string
}

func (v *visit) keysPath() string {
	if v.org == "" {
		return "/enterprise/keys"
	}
	return "/orgs/" + url.PathEscape(v.org) + "/keys"
}

// seesEnterpriseKeys reports whether there is anything on the enterprise's page.
func (v *visit) seesEnterpriseKeys() bool {
	return v.who.Can(access.ManageAccountServiceUsers, "") || v.who.Can(access.ViewAccountMembership, "")
}

// onKeys puts the visit on the page's organization, or on the enterprise.
func (v *visit) onKeys() error {
	if v.param("org") != "" {
		return v.onOrg()
	}
	if !v.seesEnterpriseKeys() {
		return access.RequireAny(v.who, "", access.ManageAccountServiceUsers, access.ViewAccountMembership)
	}
	return nil
}

func (v *visit) keysPage() error {
	if err := v.onKeys(); err != nil {
		return err
	}
	return v.showKeys(http.StatusOK, keysView{})
}

func (v *visit) showKeys(status int, k keysView) error {
	k.door, k.org, k.now, k.path, k.with = v.door, v.org, v.Clock.Now(), v.base+v.keysPath(), v.who.KeyID
	k.sees = v.can(access.ViewAccountMembership) || v.can(access.ManageAccountMembership)
	k.manage, k.remove = v.can(access.ManageAccountServiceUsers), v.can(access.ManageAccountMembership)
	k.provision = (v.org != "" && v.can(access.ManageOrgServiceUsers)) || (v.org == "" && k.manage)
	k.lists = k.sees || (k.provision && v.org != "")
	for _, fill := range []func(*keysView) error{v.ownKeys, v.robots, v.olderKeys, v.rolesToGive, v.peopleHere} {
		if err := fill(&k); err != nil {
			return err
		}
	}
	f, err := v.frame("Keys", "keys")
	if err != nil {
		return err
	}
	return v.show(status, f, keysPageView(k))
}

func (v *visit) ownKeys(k *keysView) error {
	if v.who.Kind != access.Person {
		return nil
	}
	var err error
	k.own, err = v.Members.OwnKeys(v.ctx(), v.who)
	k.ownHere = v.org != ""
	return err
}

// robots reads service users with their keys. What stands behind an organization's key of the older versions is shown as that key.
func (v *visit) robots(k *keysView) error {
	if !k.lists {
		return nil
	}
	scope := "console.keys\x00" + v.org
	r := page.Request{First: keysListed}
	if err := v.openCursor(scope, &r); err != nil {
		return err
	}
	var p page.Page[member.ServiceUser]
	var err error
	if k.sees {
		p, err = v.Members.List(v.ctx(), v.who, member.ListParams{OrgID: v.org, Page: r})
	} else {
		p, err = v.Members.ListOwn(v.ctx(), v.who, v.org, r)
	}
	if err != nil {
		return err
	}
	for _, u := range p.Items {
		one := robot{ServiceUser: u}
		if k.manage {
			if one.keys, err = v.Members.ListKeys(v.ctx(), v.who, u.ID, member.KeysAll); err != nil {
				return err
			}
		}
		if slices.ContainsFunc(one.keys, func(a member.APIKey) bool { return a.Form == access.KeyService }) {
			continue
		}
		k.robots = append(k.robots, one)
	}
	if p.More {
		k.next = k.path + "?after=" + v.Sealer.Seal(scope, p.End)
	}
	if v.org != "" {
		return nil
	}
	ids := make([]string, len(p.Items))
	for i, u := range p.Items {
		ids[i] = u.OrgID
	}
	names, err := v.Orgs.Names(v.ctx(), ids)
	for i, r := range k.robots {
		k.robots[i].of = names[r.OrgID]
	}
	return err
}

func (v *visit) olderKeys(k *keysView) error {
	if !k.manage || v.org == "" {
		return nil
	}
	p, err := v.Members.ListOlderKeys(v.ctx(), v.who, v.org, page.Request{First: page.MaxFirst})
	k.older, k.olderMax = p.Items, p.More
	return err
}

// rolesToGive are those that the form for a new service user offers: of the page's scope, and holding no more than who gives them.
func (v *visit) rolesToGive(k *keysView) error {
	if !k.provision {
		return nil
	}
	scope, list := access.Org, access.Builtin()
	if v.org == "" {
		scope = access.Enterprise
	}
	if k.sees {
		p, err := v.Members.Roles(v.ctx(), v.who, page.Request{First: rolesListed})
		if err != nil {
			return err
		}
		list = p.Items
	}
	for _, r := range list {
		if r.Scope == scope && access.RequireGive(v.who, r.Permissions, v.org) == nil {
			k.roles = append(k.roles, r)
		}
	}
	return nil
}

func (v *visit) peopleHere(k *keysView) error {
	if !k.manage || v.org == "" || !v.can(access.ViewOrgMembership) {
		return nil
	}
	p, err := v.Members.OrgPeople(v.ctx(), v.who, member.PeopleParams{OrgID: v.org, Page: page.Request{First: peopleListed}})
	if err != nil {
		return err
	}
	for _, u := range p.Items {
		k.people = append(k.people, choice{u.ID, u.Email})
	}
	return nil
}

// keyActions are what the page's forms do. Those that make a key give it.
var keyActions = map[string]func(v *visit) (*freshKey, error){
	"provision":    (*visit).provision,
	"create":       (*visit).createKey,
	"rotate":       (*visit).rotateKey,
	"revoke":       (*visit).revokeKey,
	"remove":       (*visit).removeRobot,
	"organization": (*visit).createOrgKey,
	"personal":     (*visit).createPersonalKey,
	"revoke-older": (*visit).revokeOlder,
	"revoke-own":   (*visit).revokeOwn,
}

func (v *visit) changeKeys() error {
	if err := v.onKeys(); err != nil {
		return err
	}
	action := v.param("action")
	do := keyActions[action]
	if do == nil {
		return errNoPage
	}
	fresh, err := do(v)
	switch {
	case err != nil && !mendable(err):
		return err
	case err != nil:
		e := v.kit.Refusal(v.r, err)
		return v.showKeys(e.GetStatus(), keysView{wrong: sentence(e.Error()), form: action, filled: v.r.Form})
	case fresh != nil:
		return v.showKeys(http.StatusOK, keysView{fresh: fresh})
	}
	done := "revoked"
	if action == "remove" {
		done = "removed"
	}
	if v.partial() {
		return v.showKeys(http.StatusOK, keysView{})
	}
	return v.leave(v.keysPath() + "?done=" + done)
}

const usedAsBearer = "Send it as the header “Authorization: Bearer …”, or give it to gantry login."

const usedOnOlder = "It is good for the API versions v1 and v2 and nothing newer."

func fresh(k member.NewKey, use string) *freshKey {
	return &freshKey{name: k.Name, token: k.Token.Reveal(), use: use}
}

func (v *visit) provision() (*freshKey, error) {
	n, err := days(v.field("days"))
	if err != nil {
		return nil, err
	}
	_, k, err := v.Members.Provision(v.ctx(), v.who, member.ProvisionParams{
		OrgID: v.org, Name: v.field("name"), RoleID: v.field("role_id"), TTLSeconds: int64(n) * 24 * 60 * 60,
	})
	return fresh(k, usedAsBearer), err
}

func (v *visit) createKey() (*freshKey, error) {
	until, err := v.until()
	if err != nil {
		return nil, err
	}
	k, err := v.Members.CreateKey(v.ctx(), v.who, member.CreateKeyParams{
		ServiceUserID: v.field("service_user_id"), Name: v.field("name"), ExpiresAt: until,
	})
	return fresh(k, usedAsBearer), err
}

func (v *visit) rotateKey() (*freshKey, error) {
	until, err := v.until()
	if err != nil {
		return nil, err
	}
	k, err := v.Members.RotateKey(v.ctx(), v.who, member.RotateKeyParams{
		ServiceUserID: v.field("service_user_id"), KeyID: v.field("key_id"), NewExpiresAt: until, KeepCurrent: v.field("keep") != "",
	})
	return fresh(k, usedAsBearer), err
}

func (v *visit) revokeKey() (*freshKey, error) {
	_, err := v.Members.RevokeKey(v.ctx(), v.who, v.field("service_user_id"), v.field("key_id"))
	return nil, err
}

func (v *visit) removeRobot() (*freshKey, error) {
	_, err := v.Members.Delete(v.ctx(), v.who, v.field("service_user_id"))
	return nil, err
}

func (v *visit) createOrgKey() (*freshKey, error) {
	k, err := v.Members.CreateOrgKey(v.ctx(), v.who, v.org)
	return fresh(k, usedOnOlder), err
}

func (v *visit) createPersonalKey() (*freshKey, error) {
	user := v.field("user_id")
	if user == "" && v.who.Kind == access.Person {
		user = v.who.ID
	}
	k, err := v.Members.CreatePersonalKey(v.ctx(), v.who, user, v.org)
	return fresh(k, usedOnOlder+" Its owner can sign in here with it, too."), err
}

func (v *visit) revokeOlder() (*freshKey, error) {
	return nil, v.Members.RevokeOlderKey(v.ctx(), v.who, v.field("key_id"))
}

func (v *visit) revokeOwn() (*freshKey, error) {
	return nil, v.Members.RevokeOwnKey(v.ctx(), v.who, v.field("key_id"))
}

// days reads how long something is to live.
func days(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fault.InvalidField("days", "must be a whole number")
	}
	return n, nil
}

// until is when a key is to end, zero for never.
func (v *visit) until() (time.Time, error) {
	if v.field("days") == "" {
		return time.Time{}, nil
	}
	n, err := days(v.field("days"))
	return v.Clock.Now().AddDate(0, 0, n), err
}

// lives are the choices of how long something lives, in days.
var lives = []choice{{"1", "a day"}, {"7", "a week"}, {"30", "30 days"}, {"90", "90 days"}, {"365", "a year"}}

// standing says what a key is now.
func (k keysView) standing(a member.APIKey) (string, tone) {
	switch {
	case !a.RevokedAt.IsZero():
		return "revoked " + ago(k.now, a.RevokedAt), quiet
	case !a.ExpiresAt.IsZero() && !k.now.Before(a.ExpiresAt):
		return "expired " + ago(k.now, a.ExpiresAt), quiet
	case a.ExpiresAt.IsZero():
		return "active, doesn't expire", good
	}
	return "active, expires " + ago(k.now, a.ExpiresAt), good
}

// used says when a key was last used.
func (k keysView) used(t time.Time) string {
	if t.IsZero() {
		return "never used"
	}
	return "used " + ago(k.now, t)
}

// was gives what a form's field held, when it is that form that is wrong.
func (k keysView) was(form, field string) string {
	if k.form != form {
		return ""
	}
	return k.filled.Get(field)
}

// roleNames are the roles of a service user here.
func (r robot) roleNames(org string) []string {
	var out []string
	for _, a := range r.Roles {
		if org == "" || a.OrgID == org || a.OrgID == "" {
			out = append(out, a.Role.Name)
		}
	}
	return out
}

func (k keysView) title() string {
	if k.org == "" {
		return "Keys of the enterprise"
	}
	return "Keys"
}

func standingText(k keysView, a member.APIKey) string {
	text, _ := k.standing(a)
	return text
}

func toneOf(k keysView, a member.APIKey) tone {
	_, t := k.standing(a)
	return t
}

func usedMoment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return moment(t)
}

// formName is how a key of a sort begins.
func formName(f access.KeyForm) string {
	switch f {
	case access.KeyService:
		return "apk_"
	case access.KeyPersonal:
		return "apk_user_"
	case access.KeyCurrent:
	}
	return "cog_"
}

// olderAsKey names an older key for the question before it is revoked.
func olderAsKey(k member.OlderKey) member.APIKey {
	return member.APIKey{ID: k.ID, Name: cmp.Or(k.Email, "the organization key made "+moment(k.CreatedAt))}
}

func olderForm(k member.OlderKey) string {
	if k.Service() {
		return formName(access.KeyService)
	}
	return formName(access.KeyPersonal)
}

package console

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"gantry/internal/access"
	"gantry/internal/forge"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/page"
	"gantry/internal/session"
)

// listed is how many sessions a page of the list has.
const listed = 30

// filter is what the list of sessions may be narrowed by, as the form says it.
type filter struct {
	Tag, Repo, Origin, Since string
	Mine, Archived           bool
}

// sinces are the choices of Since.
var sinces = []struct {
	name, text string
	span       time.Duration
}{
	{"day", "the last day", 24 * time.Hour},
	{"week", "the last 7 days", 7 * 24 * time.Hour},
	{"month", "the last 30 days", 30 * 24 * time.Hour},
}

func filterOf(q url.Values) filter {
	return filter{
		Tag: strings.TrimSpace(q.Get("tag")), Repo: strings.TrimSpace(q.Get("repo")), Origin: q.Get("origin"), Since: q.Get("since"),
		Mine: q.Get("mine") != "", Archived: q.Get("archived") != "",
	}
}

// query is the filter as an address has it, without what isn't set.
func (f filter) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"tag": f.Tag, "repo": f.Repo, "origin": f.Origin, "since": f.Since} {
		if value != "" {
			q.Set(name, value)
		}
	}
	for name, on := range map[string]bool{"mine": f.Mine, "archived": f.Archived} {
		if on {
			q.Set(name, "1")
		}
	}
	return q
}

func (f filter) empty() bool { return f == filter{} }

// ask turns the form's words into the use case's.
func (f filter) ask(v *visit) session.Filter {
	s := session.Filter{OrgID: v.org, Archived: &f.Archived}
	if f.Tag != "" {
		s.Tags = []string{f.Tag}
	}
	if f.Repo != "" {
		s.RepoNames = []string{f.Repo}
	}
	if f.Origin != "" {
		s.Origins = []string{f.Origin}
	}
	for _, c := range sinces {
		if c.name == f.Since {
			s.CreatedAfter = v.Clock.Now().Add(-c.span)
		}
	}
	if f.Mine && v.who.Kind == access.Person {
		s.UserIDs = []string{v.who.ID}
	} else if f.Mine {
		s.ServiceUserIDs = []string{v.who.ID}
	}
	return s
}

// sessionRow is a line of the list.
type sessionRow struct {
	*session.Session
	by string
}

// sessionList is the list with what was asked for it.
type sessionList struct {
	door   *door
	org    string
	now    time.Time
	filter filter
	rows   []sessionRow
	next   string // the address of the next page, empty on the last
	more   bool   // this is a later page
	start  bool   // a session may be started
}

func sessionsPath(orgID string) string { return "/orgs/" + url.PathEscape(orgID) + "/sessions" }

func sessionPath(id string) string { return "/sessions/" + url.PathEscape(id) }

func (v *visit) sessionsPage() error {
	if err := v.onOrg(); err != nil {
		return err
	}
	l, err := v.sessionList(filterOf(v.r.URL.Query()))
	if err != nil {
		return err
	}
	if l.more && v.partial() {
		return v.write(http.StatusOK, sessionRows(l))
	}
	if v.partial() {
		return v.write(http.StatusOK, sessionListView(l))
	}
	s, err := v.summary()
	if err != nil {
		return err
	}
	f, err := v.frame("Sessions", "sessions")
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, f, sessionsView(l, s))
}

func (v *visit) sessionList(f filter) (sessionList, error) {
	scope := "console.sessions\x00" + v.org + "\x00" + f.query().Encode()
	l := sessionList{door: v.door, org: v.org, now: v.Clock.Now(), filter: f, start: v.starts()}
	r := page.Request{First: listed}
	if err := v.openCursor(scope, &r); err != nil {
		return l, err
	}
	l.more = r.After != nil
	p, err := v.Sessions.List(v.ctx(), v.who, f.ask(v), r)
	if err != nil {
		return l, err
	}
	users := make([]string, 0, len(p.Items))
	for _, s := range p.Items {
		users = append(users, s.UserID)
	}
	emails, err := v.Members.Emails(v.ctx(), users)
	if err != nil {
		return l, err
	}
	for _, s := range p.Items {
		l.rows = append(l.rows, sessionRow{s, v.by(s, emails)})
	}
	if p.More {
		q := f.query()
		q.Set("after", v.Sealer.Seal(scope, p.End))
		l.next = v.base + sessionsPath(v.org) + "?" + q.Encode()
	}
	return l, nil
}

// by says whose session it is.
func (v *visit) by(s *session.Session, emails map[string]string) string {
	switch {
	case s.UserID != "" && s.UserID == v.who.ID, s.UserID == "" && s.ServiceUserID != "" && s.ServiceUserID == v.who.ID:
		return "you"
	case s.UserID != "" && emails[s.UserID] != "":
		return emails[s.UserID]
	case s.ScheduleID != "":
		return "a schedule"
	case s.ServiceUserID != "":
		return "a service user"
	}
	return ""
}

// starts reports whether sessions may be started here.
func (v *visit) starts() bool {
	return v.can(access.UseDevinSessions) || v.can(access.ManageOrgSessions)
}

// sessionForm is the form that starts a session.
type sessionForm struct {
	door      *door
	org       string
	prompt    string
	title     string
	repos     string
	tags      string
	playbook  string
	mode      string
	maxACU    string
	wrong     string // what is wrong with it
	field     string // the name of the field that is wrong
	uploads   bool   // files may be handed over
	playbooks []choice
	known     []string // repositories to choose from
}

// choice is an option of a select.
type choice struct{ value, text string }

func (v *visit) newSessionPage() error {
	if err := v.onOrg(); err != nil {
		return err
	}
	if !v.starts() {
		return access.RequireAny(v.who, v.org, access.UseDevinSessions, access.ManageOrgSessions)
	}
	f := sessionForm{prompt: v.r.URL.Query().Get("prompt")}
	if from := v.r.URL.Query().Get("from"); from != "" {
		if err := v.like(&f, from); err != nil {
			return err
		}
	}
	return v.showSessionForm(http.StatusOK, f)
}

// like fills the form with what an earlier session was asked for.
func (v *visit) like(f *sessionForm, from string) error {
	s, err := v.Sessions.Get(v.ctx(), v.who, v.org, from)
	if err != nil {
		return err
	}
	prompts, err := v.Sessions.Prompts(v.ctx(), []string{s.ID})
	if err != nil {
		return err
	}
	f.prompt, f.title, f.playbook, f.mode = prompts[s.ID], s.Title, s.PlaybookID, s.Mode
	f.repos, f.tags = strings.Join(s.Repos, "\n"), strings.Join(s.Tags, ", ")
	if s.MaxACU > 0 {
		f.maxACU = strconv.FormatInt(s.MaxACU, 10)
	}
	return nil
}

const (
	choicePlaybooks = 100
	choiceRepos     = 200
)

func (v *visit) showSessionForm(status int, f sessionForm) error {
	f.door, f.org, f.uploads = v.door, v.org, v.uploads()
	if v.can(access.ManageOrgPlaybooks) || v.can(access.ManageAccountPlaybooks) {
		p, err := v.Playbooks.List(v.ctx(), v.who, v.org, page.Request{First: choicePlaybooks})
		if err != nil {
			return err
		}
		for _, b := range p.Items {
			f.playbooks = append(f.playbooks, choice{b.ID, b.Title})
		}
	}
	f.known = v.knownRepos()
	fr, err := v.frame("New session", "sessions")
	if err != nil {
		return err
	}
	return v.show(status, fr, newSessionView(f))
}

// reposWait is how long the form waits for the names of repositories, which a git provider may have to be asked for.
const reposWait = 2 * time.Second

// knownRepos are names to choose from. They are a help only: without them one writes the name.
func (v *visit) knownRepos() []string {
	if !v.can(access.ViewOrgRepositories) {
		return nil
	}
	ctx, cancel := context.WithTimeout(v.ctx(), reposWait)
	defer cancel()
	p, err := v.Forge.Usable(ctx, v.who, forge.UsableParams{OrgID: v.org, Page: page.Request{First: choiceRepos}})
	if err != nil {
		return nil
	}
	out := make([]string, len(p.Items))
	for i, r := range p.Items {
		out[i] = r.Name
	}
	return out
}

func (v *visit) createSession() error {
	if err := v.onOrg(); err != nil {
		return err
	}
	if !v.starts() {
		return access.RequireAny(v.who, v.org, access.UseDevinSessions, access.ManageOrgSessions)
	}
	done, err := v.readUpload()
	if err != nil {
		return err
	}
	defer done()
	f := sessionForm{
		prompt: v.r.PostFormValue("prompt"), title: v.field("title"), repos: v.field("repos"), tags: v.field("tags"),
		playbook: v.field("playbook"), mode: v.field("mode"), maxACU: v.field("max_acu"),
	}
	p, err := f.params(v.org)
	if err == nil {
		p.AttachmentURLs, err = v.attach()
	}
	if err == nil {
		var s *session.Session
		if s, err = v.Sessions.Create(v.ctx(), v.who, p); err == nil {
			return v.leave(sessionPath(s.ID) + "?done=created")
		}
	}
	if !mendable(err) {
		return err
	}
	e := v.kit.Refusal(v.r, err)
	f.field, f.wrong = fieldOf(err), sentence(e.Error())
	return v.showSessionForm(e.GetStatus(), f)
}

// mendable reports whether the form's writer can do something about it.
func mendable(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.BadRequest, fault.Conflict, fault.NotFound, fault.TooLarge:
		return true
	default:
		return false
	}
}

// fieldOf names the field that a refusal is about, empty when it is about the whole.
func fieldOf(err error) string {
	f := fault.As(err)
	if len(f.Fields) == 0 || len(f.Fields[0].Loc) < 2 {
		name, _, _ := strings.Cut(f.Message, ":")
		if slices.Contains([]string{"prompt", "title", "repos", "tags", "playbook_id", "max_acu_limit"}, name) {
			return name
		}
		return ""
	}
	return f.Fields[0].Loc[1]
}

func (f *sessionForm) params(orgID string) (session.CreateParams, error) {
	p := session.CreateParams{
		OrgID: orgID, Prompt: f.prompt, Title: f.title, Repos: words(f.repos), Tags: commas(f.tags), PlaybookID: f.playbook, Mode: f.mode,
		Origin: "webapp",
	}
	if f.maxACU != "" {
		n, err := strconv.ParseInt(f.maxACU, 10, 64)
		if err != nil {
			return p, fault.InvalidField("max_acu_limit", "must be a whole number of ACUs")
		}
		p.MaxACU = &n
	}
	return p, nil
}

// words splits a field of names at blanks, commas and line ends.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\r' || r == '\t' })
}

// commas splits a field of texts at commas and line ends.
func commas(s string) []string {
	var out []string
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// attr gives an attribute that is there only under a condition.
func attr(on bool, name, value string) templ.Attributes {
	if !on {
		return nil
	}
	return templ.Attributes{name: value}
}

package console

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"gantry/internal/access"
	"gantry/internal/metric"
	"gantry/internal/usage"
)

// The page of usage is a picture of what the use cases of consumption and metrics answer, of an organization or of the enterprise. Who
// holds the permission of one of them sees its part.

// spans are how many days a page may be about.
var spans = []int{7, 30, 90}

const (
	usualSpan = 30
	oneDay    = 24 * time.Hour
	topRanks  = 10
)

// usageView is the page.
type usageView struct {
	door  *door
	path  string
	title string
	days  int
	cycle summary
	// The parts, nil for who may not read them.
	acus, sessions, people, pulls *figure
	kinds, top                    *ranking
	dayStart                      string // when days of consumption begin, empty when they begin with UTC's
	start                         string // where a session may be started, empty for nowhere
}

// figure is a number with its course.
type figure struct {
	title, total, trend string
	none                string // what there will be, while there is nothing
	promise             string // the same in a list
	chart               chart
}

// ranking is a list by size.
type ranking struct {
	title, note, none, promise string
	list                       []rank
}

// usagePath is of an organization's page, or with "" of the enterprise's.
func usagePath(orgID string) string {
	if orgID == "" {
		return "/enterprise/usage"
	}
	return "/orgs/" + url.PathEscape(orgID) + "/usage"
}

// seesConsumption reports whether the visit may read what its organization, or with none the enterprise, used.
func (v *visit) seesConsumption() bool {
	if v.org == "" {
		return v.can(access.ManageBilling) || v.can(access.ViewAccountConsumption)
	}
	return v.can(access.ManageBilling) || v.can(access.ViewOrgConsumption)
}

func (v *visit) seesMetrics() bool {
	return v.can(access.ViewAccountMetrics) || (v.org != "" && v.can(access.ViewOrgMetrics))
}

func (v *visit) seesUsage() bool { return v.seesConsumption() || v.seesMetrics() }

// seesEnterpriseUsage reports whether there is anything on the enterprise's page, wherever the visit is.
func (v *visit) seesEnterpriseUsage() bool {
	return v.can(access.ManageBilling) || v.can(access.ViewAccountConsumption) || v.can(access.ViewAccountMetrics)
}

func (v *visit) usagePage() error {
	if v.param("org") != "" {
		if err := v.onOrg(); err != nil {
			return err
		}
	}
	if !v.seesUsage() && v.org == "" {
		return access.RequireAny(v.who, "", access.ViewAccountConsumption, access.ManageBilling, access.ViewAccountMetrics)
	}
	if !v.seesUsage() {
		return access.RequireAny(v.who, v.org, access.ViewOrgConsumption, access.ManageBilling, access.ViewOrgMetrics, access.ViewAccountMetrics)
	}
	f, err := v.frame("Usage", "usage")
	if err != nil {
		return err
	}
	u := usageView{door: v.door, path: v.base + usagePath(v.org), title: "Usage", days: spanOf(v.r.URL.Query().Get("days"))}
	if u.cycle.now = v.Clock.Now(); v.org == "" {
		u.title = "Usage of the enterprise"
	}
	if v.org != "" && v.starts() {
		u.start = v.base + sessionsPath(v.org) + "/new"
	}
	if err := v.cycle(&u.cycle); err != nil {
		return err
	}
	for _, fill := range []func(*usageView) error{v.consumed, v.made, v.active, v.kindsOfWork} {
		if err := fill(&u); err != nil {
			return err
		}
	}
	return v.show(http.StatusOK, f, usagePageView(u))
}

// spanOf reads how many days are asked for; what isn't offered is the usual.
func spanOf(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil || !slices.Contains(spans, n) {
		return usualSpan
	}
	return n
}

// consumption asks for the days of a time, of what the page is about.
func (v *visit) consumption(from, to time.Time) usage.DailyParams {
	p := usage.DailyParams{After: from, Before: to}
	if v.org != "" {
		p.OrgID, p.Scope, p.ID = v.org, usage.Organization, v.org
	}
	return p
}

// consumed shows ACUs by day, and who used most.
func (v *visit) consumed(u *usageView) error {
	if !v.seesConsumption() {
		return nil
	}
	to := v.Usage.Day(u.cycle.now).Add(oneDay)
	from := to.Add(-time.Duration(u.days) * oneDay)
	before := from.Add(-time.Duration(u.days) * oneDay)
	used, err := v.Usage.Daily(v.ctx(), v.who, v.consumption(before, to))
	if err != nil {
		return err
	}
	values := make([]float64, u.days)
	var total, earlier int64
	for _, d := range used {
		if d.Start.Before(from) {
			earlier += d.Total()
			continue
		}
		total += d.Total()
		values[d.Start.Sub(from)/oneDay] += float64(d.Total()) / usage.Micros // where the offset was another, a day began within one of these
	}
	first := from.Add(v.Usage.DayOffset)
	if at := from.UTC().Format("15:04"); at != "00:00" {
		u.dayStart = at
	}
	c := chart{id: "acus", title: "ACUs by day", unit: "ACU", text: acus, days: daysFrom(first, u.days), of: []series{{name: "ACU", tone: "first", values: values}}}
	u.acus = &figure{
		promise: "ACUs by day", title: "ACUs", total: grouped(acus(float64(total) / usage.Micros)), trend: trend(float64(total), float64(earlier), u.days),
		none: "What sessions use shows here, day by day, as they work: 15 minutes of work are about 1 ACU.", chart: c.draw(),
	}
	return v.mostUsed(u, from, to, total)
}

func daysFrom(first time.Time, n int) []time.Time {
	out := make([]time.Time, n)
	for i := range out {
		out[i] = first.UTC().Add(time.Duration(i) * oneDay)
	}
	return out
}

// metricSpan are the UTC days that a page is about, and as many before them.
func (u usageView) metricSpan() (before, now metric.Range) {
	to := u.cycle.now.UTC().Truncate(oneDay).Add(oneDay)
	from := to.Add(-time.Duration(u.days) * oneDay)
	return metric.Range{After: from.Add(-time.Duration(u.days) * oneDay), Before: from}, metric.Range{After: from, Before: to}
}

// made shows the sessions and pull requests that were made by day.
func (v *visit) made(u *usageView) error {
	if !v.seesMetrics() {
		return nil
	}
	before, now := u.metricSpan()
	days, err := v.Metrics.Days(v.ctx(), v.who, metric.Filter{Range: metric.Range{After: before.After, Before: now.Before}, OrgID: v.org})
	if err != nil {
		return err
	}
	var sessions, opened, merged, closed []float64
	var n, earlier struct{ sessions, pulls, merged float64 }
	for i, d := range days {
		all := float64(d.Opened + d.Merged + d.Closed)
		if i < u.days {
			earlier.sessions, earlier.pulls = earlier.sessions+float64(d.Sessions), earlier.pulls+all
			continue
		}
		n.sessions, n.pulls, n.merged = n.sessions+float64(d.Sessions), n.pulls+all, n.merged+float64(d.Merged)
		sessions, opened = append(sessions, float64(d.Sessions)), append(opened, float64(d.Opened))
		merged, closed = append(merged, float64(d.Merged)), append(closed, float64(d.Closed))
	}
	dates := daysFrom(now.After, u.days)
	u.sessions = &figure{
		promise: "sessions", title: "Sessions", total: grouped(whole(n.sessions)), trend: trend(n.sessions, earlier.sessions, u.days),
		none:  "Sessions show here on the day that they were started.",
		chart: chart{id: "sessions", title: "Sessions started by day", unit: "sessions", text: whole, whole: true, days: dates, of: []series{{"sessions", "first", sessions}}}.draw(),
	}
	u.pulls = &figure{
		promise: "pull requests", title: "Pull requests", total: grouped(whole(n.pulls)), trend: trend(n.pulls, earlier.pulls, u.days),
		none: "Pull requests that sessions open show here on the day of their first report, and whether they were merged.",
		chart: chart{
			id: "pulls", title: "Pull requests by day", unit: "pull requests", text: whole, whole: true, days: dates,
			of: []series{{"merged", "first", merged}, {"open", "second", opened}, {"closed", "third", closed}},
		}.draw(),
	}
	if n.merged > 0 {
		u.pulls.trend = grouped(whole(n.merged)) + " merged; " + u.pulls.trend
	}
	return nil
}

// active shows how many people were active by day, and in all, each once.
func (v *visit) active(u *usageView) error {
	if !v.seesMetrics() {
		return nil
	}
	before, now := u.metricSpan()
	f := metric.ActiveFilter{Range: now, OrgID: v.org, MinSessions: 1, MinSearches: 1}
	days, err := v.Metrics.Active(v.ctx(), v.who, metric.Daily, f)
	if err != nil {
		return err
	}
	in, err := v.Metrics.ActiveUsers(v.ctx(), v.who, f)
	if err != nil {
		return err
	}
	f.Range = before
	earlier, err := v.Metrics.ActiveUsers(v.ctx(), v.who, f)
	if err != nil {
		return err
	}
	values := make([]float64, len(days))
	for i, d := range days {
		values[i] = float64(d.Users)
	}
	u.people = &figure{
		promise: "active people", title: "Active people", total: grouped(strconv.FormatInt(in.Users, 10)), trend: trend(float64(in.Users), float64(earlier.Users), u.days),
		none: "People show here on the days on which they start a session. Service users are no people.",
		chart: chart{
			id: "people", title: "Active people by day", unit: "people", text: whole, whole: true, days: daysFrom(now.After, len(days)), of: []series{{"people", "first", values}},
		}.draw(),
	}
	return nil
}

// kindsOfWork shows sessions by category.
func (v *visit) kindsOfWork(u *usageView) error {
	if !v.seesMetrics() {
		return nil
	}
	_, now := u.metricSpan()
	list, err := v.Metrics.Categories(v.ctx(), v.who, metric.Filter{Range: now, OrgID: v.org})
	if err != nil {
		return err
	}
	u.kinds = &ranking{title: "Kinds of work", promise: "kinds of work", none: "Sessions show here by what they were about, once their first turn is over."}
	for _, c := range list {
		u.kinds.list = append(u.kinds.list, rank{
			name: kindName(c.Name), text: grouped(count(int(c.Sessions), "session", "sessions")), hint: grouped(acus(c.ACUs)) + " ACU", value: float64(c.Sessions),
		})
	}
	return nil
}

// kindName makes a category's name read as one.
func kindName(category string) string {
	if category == "ci_cd_and_devops" {
		return "CI/CD and DevOps"
	}
	return strings.TrimSuffix(sentence(strings.ReplaceAll(clean(category), "_", " ")), ".")
}

// mostUsed ranks who used most of a total: an organization's people and service users, or the enterprise's organizations. It is for
// whoever may see who there is. What others used, who are gone or aren't listed, is one line, so that the lines come to the total.
func (v *visit) mostUsed(u *usageView, from, to time.Time, total int64) error {
	who, more, err := v.candidates(u.days)
	if err != nil || (who == nil && !more) {
		return err
	}
	u.top = &ranking{title: "Who used most", promise: "who used most", none: "Who uses ACUs shows here, the most first."}
	rest := "Everybody else"
	if v.org == "" {
		u.top.title, rest = "Organizations that used most", "Other organizations"
	}
	if more {
		u.top.note = "There are too many to compare here. The API answers for each: " + v.dailyPath()
		return nil
	}
	used, of := map[string]int64{}, map[string]rank{}
	for scope, names := range who {
		for ids := range slices.Chunk(slices.Collect(maps.Keys(names)), usage.MaxTotals) {
			n, err := v.Usage.Totals(v.ctx(), v.who, usage.TotalsParams{OrgID: v.org, Scope: scope, IDs: ids, After: from, Before: to})
			if err != nil {
				return err
			}
			maps.Copy(used, n)
		}
		maps.Copy(of, names)
	}
	ids := slices.SortedFunc(maps.Keys(used), func(a, b string) int {
		return cmp.Or(cmp.Compare(used[b], used[a]), cmp.Compare(of[a].name, of[b].name), cmp.Compare(a, b))
	})
	for _, id := range ids[:min(len(ids), topRanks)] {
		r := of[id]
		r.id = id
		u.top.add(r, used[id])
		total -= used[id]
	}
	if total > 0 {
		u.top.add(rank{name: rest, rest: true}, total)
	}
	return nil
}

// add puts a line with an amount in millionths of an ACU at the end of a list.
func (r *ranking) add(k rank, micros int64) {
	k.value = float64(micros) / usage.Micros
	k.text = grouped(acus(k.value)) + " ACU"
	r.list = append(r.list, k)
}

func (v *visit) dailyPath() string {
	if v.org == "" {
		return "/v3/enterprise/consumption/daily/organizations/{org_id}"
	}
	return "/v3/organizations/" + v.org + "/consumption/daily/users/{user_id}"
}

// trend compares two spans in words.
func trend(now, before float64, days int) string {
	than := fmt.Sprintf("the %d days before", days)
	switch change := math.Round((now/before - 1) * 100); {
	case before == 0 && now == 0:
		return ""
	case before == 0:
		return "none in " + than
	case change == 0:
		return "as in " + than
	case change >= 900:
		return fmt.Sprintf("%.0f times %s", now/before, than)
	case change > 0:
		return fmt.Sprintf("%.0f %% more than in %s", change, than)
	default:
		return fmt.Sprintf("%.0f %% less than in %s", -change, than)
	}
}

func whole(n float64) string { return strconv.FormatFloat(n, 'f', 0, 64) }

// empty reports whether there is nothing to see in any part.
func (u usageView) empty() bool {
	for _, f := range u.figures() {
		if !f.chart.empty() {
			return false
		}
	}
	return (u.kinds == nil || len(u.kinds.list) == 0) && (u.top == nil || len(u.top.list) == 0)
}

// figures are those that may be seen.
func (u usageView) figures() []*figure {
	return slices.DeleteFunc([]*figure{u.acus, u.sessions, u.people, u.pulls}, func(f *figure) bool { return f == nil })
}

// rankings are those that may be seen.
func (u usageView) rankings() []*ranking {
	return slices.DeleteFunc([]*ranking{u.kinds, u.top}, func(r *ranking) bool { return r == nil })
}

// promise says what the page will show, to whoever sees it.
func (u usageView) promise() string {
	var parts []string
	for _, f := range u.figures() {
		parts = append(parts, f.promise)
	}
	for _, r := range u.rankings() {
		parts = append(parts, r.promise)
	}
	last := len(parts) - 1
	if last < 1 {
		return strings.Join(parts, "")
	}
	return strings.Join(parts[:last], ", ") + " and " + parts[last]
}

// legend says by which days the page counts.
func (u usageView) legend() string {
	text := "Days are days of UTC"
	if u.acus != nil && u.dayStart != "" {
		text = "ACUs are counted by billing days, which begin at " + u.dayStart + " UTC"
		if u.sessions != nil {
			text += ", all else by days of UTC"
		}
	}
	return text + ". The last day isn't over yet."
}

package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/org"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/config"
	"gantry/internal/platform/db"
	"gantry/internal/rollup"
	"gantry/internal/servertest"
	"gantry/internal/usage"
)

// usageDay is the time of the tests of usage: a Tuesday, an hour into a billing day that began at 08:00.
var usageDay = time.Date(2026, 3, 10, 9, 0, 0, 0, time.UTC)

func usageTime() servertest.Options {
	return servertest.Options{Listen: true, Clock: clock.NewFake(usageDay)}
}

// deed is a session that somebody started, with what it came to.
type deed struct {
	org, user, robot string
	ago              time.Duration
	work             time.Duration
	category         string
	pulls            []string
}

// done enters what sessions came to, as their reports would.
func done(t *testing.T, s *servertest.Server, deeds ...deed) {
	t.Helper()
	require.NoError(t, s.DB.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
		for i, d := range deeds {
			at := usageDay.Add(-d.ago)
			measure := rollup.Measure{Size: "s", ACUMicros: s.Usage.Amount(d.work), Category: d.category, Subcategory: "Other"}
			if d.category == "" {
				measure.Subcategory = ""
			}
			for _, state := range d.pulls {
				measure.PullRequests = append(measure.PullRequests, rollup.PullRequest{Day: rollup.Day(at), State: state})
			}
			of := rollup.Session{OrgID: d.org, UserID: d.user, ServiceUserID: d.robot, Origin: "api", CreatedAt: at}
			if err := rollup.BeginTx(ctx, tx, of, measure); err != nil {
				return err
			}
			w := usage.Work{SessionID: fmt.Sprintf("s%d-%d", i, at.Unix()), OrgID: d.org, UserID: d.user, ServiceUserID: d.robot, Start: at.Add(-d.work), From: at.Add(-d.work), To: at}
			if _, err := s.Usage.EnterTx(ctx, tx, w); err != nil {
				return err
			}
		}
		return nil
	}))
}

const acuWork = 15 * time.Minute

var (
	rowsOf  = regexp.MustCompile(`(?s)<tr>(.*?)</tr>`)
	cellsOf = regexp.MustCompile(`(?s)<t[hd][^>]*>(.*?)</t[hd]>`)
	ranksOf = regexp.MustCompile(`(?s)<span class="name" title="[^"]*">(.*?)</span> ?<span class="number">(.*?)</span>`)
	tags    = regexp.MustCompile(`<[^>]*>`)
)

// tableOf takes the numbers of a chart off a page: a row of numbers for each day, by the day's name.
func tableOf(t *testing.T, body, title string) (days []string, numbers [][]float64) {
	t.Helper()
	table := between(t, body, `<table aria-label="`+title+`">`, "</table>")
	for _, row := range rowsOf.FindAllStringSubmatch(between(t, table+"<end>", "<tbody>", "<end>"), -1) {
		var n []float64
		for i, cell := range cellsOf.FindAllStringSubmatch(row[1], -1) {
			if i == 0 {
				days = append(days, cell[1])
				continue
			}
			value, err := strconv.ParseFloat(cell[1], 64)
			require.NoError(t, err)
			n = append(n, value)
		}
		numbers = append(numbers, n)
	}
	return days, numbers
}

// ranksOn gives the lines of a list by size: names with their numbers.
func ranksOn(t *testing.T, body, title string) []string {
	t.Helper()
	list := between(t, between(t, body, "<h2>"+title+"</h2>", "</section>"), `<ol class="ranks">`, "</ol>")
	var out []string
	for _, m := range ranksOf.FindAllStringSubmatch(list, -1) {
		out = append(out, html.UnescapeString(strings.Join(strings.Fields(tags.ReplaceAllString(m[1], " ")), " "))+": "+m[2])
	}
	return out
}

// asks gives an answer of the API.
func asks[T any](t *testing.T, s *servertest.Server, key, path string) T {
	t.Helper()
	a := s.Do(t, http.MethodGet, path, key, "")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	var out T
	require.NoError(t, json.Unmarshal([]byte(a.Body), &out))
	return out
}

func TestThePageOfUsageHasTheNumbersOfTheAPI(t *testing.T) {
	t.Parallel()
	servertest.Each(t, usageTime(), func(t *testing.T, s *servertest.Server) {
		admin := s.Admin.Token.Reveal()
		ada, _ := s.NewPerson(t, "ada@example.com", s.Org, access.RoleOrgMember)
		bob, _ := s.NewPerson(t, "bob@example.com", s.Org, access.RoleOrgMember)
		robot, other := s.NewKey(t, s.Org, access.RoleOrgMember), s.NewOrg(t, "Other & Sons")
		day := 24 * time.Hour
		done(t, s,
			deed{org: s.Org, user: ada, ago: 2 * time.Hour, work: acuWork, category: "bug_fixing", pulls: []string{rollup.Merged, rollup.Open}}, // yesterday's billing day, today's UTC day
			deed{org: s.Org, user: ada, ago: 30 * time.Minute, work: 2 * acuWork, category: "bug_fixing"},
			deed{org: s.Org, user: bob, ago: 3 * day, work: 10 * acuWork, category: "ci_cd_and_devops", pulls: []string{rollup.Closed}},
			deed{org: s.Org, robot: robot.ServiceUserID, ago: 6 * day, work: 3 * acuWork},
			deed{org: s.Org, user: "gone", ago: 6 * day, work: acuWork / 2},
			deed{org: s.Org, user: bob, ago: 7*day + time.Hour, work: 5 * acuWork, pulls: []string{rollup.Merged}},
			deed{org: s.Org, user: bob, ago: 40 * day, work: 7 * acuWork, category: "other"},
			deed{org: other, user: ada, ago: time.Hour, work: 50 * acuWork, category: "other", pulls: []string{rollup.Merged}},
		)
		limit := int64(50)
		_, err := s.Orgs.Update(t.Context(), s.Root(), org.UpdateParams{OrgID: s.Org, CycleLimit: org.LimitChange{Set: true, Value: &limit}})
		require.NoError(t, err)
		b := signedIn(t, s, admin)
		for _, scope := range []struct{ page, api string }{
			{"/orgs/" + s.Org + "/usage", "/v3/organizations/" + s.Org}, {"/enterprise/usage", "/v3/enterprise"},
		} {
			for _, n := range []int{7, 30, 90} {
				p := b.get(scope.page + "?days=" + strconv.Itoa(n))
				require.Equal(t, http.StatusOK, p.status)
				require.NotRegexp(t, inline, p.body)
				asTheAPI(t, s, p.body, scope.api, n)
			}
		}
		p := b.get("/orgs/" + s.Org + "/usage?days=7")
		shows(t, p.body, "21.50 of 50 ACU")
		require.Equal(t, []string{"bob@example.com: 10.00 ACU", "ada@example.com: 3.00 ACU", "robot service user: 3.00 ACU", "Everybody else: 0.50 ACU"}, ranksOn(t, p.body, "Who used most"))
		require.Equal(t, []string{"Bug fixing 3.00 ACU: 2 sessions", "CI/CD and DevOps 10.00 ACU: 1 session"}, ranksOn(t, p.body, "Kinds of work"))
		shows(t, p.body, "230 % more than in the 7 days before", "16.50 after 5")
		shows(t, p.body, "1 merged; 200 % more than in the 7 days before")
		shows(t, between(t, p.body, "Active people</h2>", "</div>"), "200 % more than in the 7 days before", "three, and one before")
		shows(t, p.body, "ACUs are counted by billing days, which begin at 08:00 UTC, all else by days of UTC.")
		require.Equal(t, []string{"Other & Sons: 50.00 ACU", "Organization: 16.50 ACU"}, names(ranksOn(t, b.get("/enterprise/usage?days=7").body, "Organizations that used most"), s, t))
		require.Equal(t, b.get("/orgs/"+s.Org+"/usage?days=30").body, b.get("/orgs/"+s.Org+"/usage?days=1000000").body, "what isn't offered is the usual")
	})
}

// names replaces the first organization's name, which the server chose.
func names(ranks []string, s *servertest.Server, t *testing.T) []string {
	t.Helper()
	o, err := s.Orgs.Get(t.Context(), s.Root(), s.Org)
	require.NoError(t, err)
	for i := range ranks {
		ranks[i] = strings.Replace(ranks[i], o.Name+":", "Organization:", 1)
	}
	return ranks
}

// asTheAPI holds every number of a page's charts against what the API answers for that day.
func asTheAPI(t *testing.T, s *servertest.Server, body, api string, n int) {
	t.Helper()
	key := s.Admin.Token.Reveal()
	span := func(from time.Time, days int) string {
		return fmt.Sprintf("?time_after=%d&time_before=%d", from.Unix(), from.AddDate(0, 0, days).Unix())
	}
	billing, utc := usageDay.Add(-time.Hour).AddDate(0, 0, 1-n), usageDay.Truncate(24*time.Hour).AddDate(0, 0, 1-n)
	type consumption struct {
		Total float64 `json:"total_acus"`
		Days  []struct {
			Date int64   `json:"date"`
			ACUs float64 `json:"acus"`
		} `json:"consumption_by_date"`
	}
	used := asks[consumption](t, s, key, api+"/consumption/daily"+span(billing, n))
	want := make([]float64, n)
	for _, d := range used.Days {
		want[(d.Date-billing.Unix())/86400] = d.ACUs
	}
	days, got := tableOf(t, body, "ACUs by day")
	require.Len(t, days, n)
	require.Equal(t, "Tue 10 Mar 2026", days[n-1], "the billing day that runs")
	for i := range want {
		require.InDelta(t, want[i], got[i][0], .005, days[i])
	}
	shows(t, body, fmt.Sprintf(`ACUs</h2><strong>%.2f</strong>`, used.Total))

	type active struct {
		Users int64 `json:"active_users"`
	}
	days, people := tableOf(t, body, "Active people by day")
	require.Equal(t, "Tue 10 Mar 2026", days[n-1])
	for i, a := range asks[[]active](t, s, key, api+"/metrics/dau"+span(utc, n)) {
		require.Equal(t, float64(a.Users), people[i][0], days[i])
	}
	shows(t, body, fmt.Sprintf(`Active people</h2><strong>%d</strong>`, asks[active](t, s, key, api+"/metrics/active-users"+span(utc, n)).Users))

	type sessions struct {
		Created int64 `json:"sessions_created_count"`
	}
	type prs struct {
		Merged int64 `json:"prs_merged_count"`
		Open   int64 `json:"prs_opened_count"`
		Closed int64 `json:"prs_closed_count"`
	}
	_, started := tableOf(t, body, "Sessions started by day")
	_, pulls := tableOf(t, body, "Pull requests by day")
	for _, i := range []int{n - 1, n - 2, n - 4, n - 7, 0} {
		at := span(utc.AddDate(0, 0, i), 1)
		require.Equal(t, float64(asks[sessions](t, s, key, api+"/metrics/sessions"+at).Created), started[i][0])
		p := asks[prs](t, s, key, api+"/metrics/prs"+at)
		require.Equal(t, []float64{float64(p.Merged), float64(p.Open), float64(p.Closed)}, pulls[i])
	}
	shows(t, body, fmt.Sprintf(`Sessions</h2><strong>%d</strong>`, asks[sessions](t, s, key, api+"/metrics/sessions"+span(utc, n)).Created))
	if api == "/v3/enterprise" {
		type categories struct {
			Categories []struct {
				Sessions int64 `json:"sessions_count"`
			} `json:"categories"`
		}
		ranks := ranksOn(t, body, "Kinds of work")
		all := asks[categories](t, s, key, api+"/metrics/sessions-by-category"+span(utc, n)).Categories
		require.Len(t, ranks, len(all))
		for i, c := range all {
			require.Contains(t, ranks[i], fmt.Sprintf(": %d session", c.Sessions))
		}
	}
}

func TestEachPartOfUsageIsForWhoMayReadIt(t *testing.T) {
	t.Parallel()
	const used, made, people, who, orgs, cycle = "ACUs by day", "Sessions started by day", "Active people by day", "Who used most", "Organizations that used most", "This billing cycle"
	all := []string{used, made, people, who, orgs, cycle, "Pull requests by day", "Kinds of work"}
	metrics := []string{made, people, "Pull requests by day", "Kinds of work"}
	servertest.Each(t, usageTime(), func(t *testing.T, s *servertest.Server) {
		ada, _ := s.NewPerson(t, "ada@example.com", s.Org, access.RoleOrgMember)
		done(t, s, deed{org: s.Org, user: ada, ago: time.Hour, work: acuWork, category: "other", pulls: []string{rollup.Merged}})
		limit := int64(77)
		_, err := s.Orgs.Update(t.Context(), s.Root(), org.UpdateParams{OrgID: s.Org, CycleLimit: org.LimitChange{Set: true, Value: &limit}})
		require.NoError(t, err)
		for name, c := range map[string]struct {
			scope    access.Scope
			holds    []access.Permission
			org, ent []string // what shows, nil for a refusal
		}{
			"consumption":             {access.Org, []access.Permission{access.ViewOrgConsumption}, []string{used, cycle}, nil},
			"consumption and members": {access.Org, []access.Permission{access.ViewOrgConsumption, access.ViewOrgMembership}, []string{used, cycle, who}, nil},
			"metrics":                 {access.Org, []access.Permission{access.ViewOrgMetrics, access.ViewOrgMembership}, metrics, nil},
			"neither":                 {access.Org, []access.Permission{access.ViewOrgSessions, access.ViewOrgMembership}, nil, nil},
			"all consumption":         {access.Enterprise, []access.Permission{access.ViewAccountConsumption}, []string{used, cycle}, []string{used, cycle}},
			"billing": {
				access.Enterprise, []access.Permission{access.ManageBilling, access.ManageOrganizations}, []string{used, cycle}, []string{used, cycle, orgs},
			},
			"all metrics": {access.Enterprise, []access.Permission{access.ViewAccountMetrics, access.ManageOrganizations}, metrics, metrics},
			"members":     {access.Enterprise, []access.Permission{access.ViewAccountMembership}, nil, nil},
		} {
			of := ""
			if c.scope == access.Org {
				of = s.Org
			}
			b := signedIn(t, s, s.NewKey(t, of, s.NewRole(t, c.scope, c.holds...)).Token)
			for path, shown := range map[string][]string{"/orgs/" + s.Org + "/usage": c.org, "/enterprise/usage": c.ent} {
				p := b.get(path)
				offered := b.get("/orgs/" + s.Org + "/keys").body
				if shown == nil {
					require.Equal(t, http.StatusForbidden, p.status, "%s: %s", name, path)
					shows(t, p.body, "Not allowed", name)
					hides(t, p.body, "ACU</strong>", name)
					hides(t, offered, path, name, "isn't offered")
					continue
				}
				require.Equal(t, http.StatusOK, p.status, "%s: %s", name, path)
				shows(t, offered, `href="`+path+`"`, name)
				for _, part := range all {
					require.Equal(t, slices.Contains(shown, part), strings.Contains(p.body, part), "%s: %s on %s", name, part, path)
				}
				require.Equal(t, name == "billing" && path != "/enterprise/usage", strings.Contains(p.body, "of 77 ACU"), "the limit is for who may read organizations")
			}
		}
	})
}

func TestAnotherOrganizationsUsageIsNotThere(t *testing.T) {
	t.Parallel()
	servertest.Each(t, usageTime(), func(t *testing.T, s *servertest.Server) {
		other := s.NewOrg(t, "Zebra")
		zed, _ := s.NewPerson(t, "zed@zebra.test", other, access.RoleOrgMember)
		ada, _ := s.NewPerson(t, "ada@example.com", s.Org, access.RoleOrgMember)
		done(t, s, deed{org: other, user: zed, ago: time.Hour, work: 123 * acuWork, category: "refactoring_and_optimization"}, deed{org: s.Org, user: ada, ago: time.Hour, work: acuWork})
		b := signedIn(t, s, s.NewKey(t, s.Org, access.RoleOrgAdmin).Token)
		p := b.get("/orgs/" + other + "/usage")
		require.Equal(t, http.StatusNotFound, p.status)
		require.Equal(t, strings.ReplaceAll(p.body, other, "org-nothing"), b.get("/orgs/org-nothing/usage").body, "what must not be seen answers like what isn't")
		require.Equal(t, http.StatusForbidden, b.get("/enterprise/usage").status)
		own := b.get("/orgs/" + s.Org + "/usage")
		require.Equal(t, http.StatusOK, own.status)
		for _, theirs := range []string{"123", "zebra", "Zebra", "Refactoring", "/enterprise/usage"} {
			hides(t, own.body, theirs)
		}
		require.Equal(t, []string{"ada@example.com: 1.00 ACU"}, ranksOn(t, own.body, "Who used most"))
		require.Contains(t, open(t, s).get("/orgs/"+s.Org+"/usage?days=7").path, "/login?next=")
	})
}

func TestUsageOfNothingSaysWhatThereWillBe(t *testing.T) {
	t.Parallel()
	servertest.Each(t, usageTime(), func(t *testing.T, s *servertest.Server) {
		b := signedIn(t, s, s.Admin.Token.Reveal())
		for path, way := range map[string]string{"/orgs/" + s.Org + "/usage": "Start a session", "/enterprise/usage": "It begins with the first session."} {
			p := b.get(path + "?days=90")
			require.Equal(t, http.StatusOK, p.status)
			shows(t, p.body, "Nothing was used in the last 90 days.")
			shows(t, p.body, "ACUs by day, sessions, active people, pull requests")
			shows(t, p.body, way)
			shows(t, p.body, "0 ACU</strong>", "the cycle is there all the same")
			hides(t, p.body, "<table")
		}
		done(t, s, deed{org: s.Org, robot: "x", ago: time.Hour, work: acuWork})
		p := b.get("/orgs/" + s.Org + "/usage")
		shows(t, p.body, "People show here on the days on which they start a session.", "a part that is empty says so alone")
		shows(t, p.body, "Everybody else")
	})
}

func TestBillingDaysAreNamedAsThoseWhoLiveInThem(t *testing.T) {
	t.Parallel()
	for offset, c := range map[time.Duration]struct{ last, legend string }{
		2 * time.Hour:   {"Tue 10 Mar 2026", "begin at 22:00 UTC, all else by days of UTC"},
		0:               {"Tue 10 Mar 2026", "Days are days of UTC."},
		-10 * time.Hour: {"Mon 9 Mar 2026", "begin at 10:00 UTC, all else by days of UTC"},
	} {
		t.Run(offset.String(), func(t *testing.T) {
			t.Parallel()
			o := usageTime()
			o.Configure = func(c *config.Serve) { c.DayOffset, c.CycleACULimit = offset, 70 }
			s := servertest.New(t, o)
			done(t, s, deed{org: s.Org, robot: "x", ago: time.Minute, work: acuWork / 3}, deed{org: s.Org, robot: "x", ago: 24 * time.Hour, work: 2 * acuWork})
			p := signedIn(t, s, s.Admin.Token.Reveal()).get("/enterprise/usage?days=7")
			days, n := tableOf(t, p.body, "ACUs by day")
			require.Equal(t, c.last, days[6])
			require.Equal(t, []float64{2, .33}, []float64{n[5][0], n[6][0]})
			shows(t, p.body, c.legend)
			shows(t, p.body, "2.33 of 70 ACU", "the enterprise has a limit of its own")
		})
	}
}

func TestTheTenWhoUsedMostAndTheRestComeToTheTotal(t *testing.T) {
	t.Parallel()
	servertest.Each(t, usageTime(), func(t *testing.T, s *servertest.Server) {
		for i := range 13 {
			who, _ := s.NewPerson(t, fmt.Sprintf("p%02d@example.com", i), s.Org, access.RoleOrgMember)
			done(t, s, deed{org: s.Org, user: who, ago: time.Hour, work: time.Duration(i+1) * acuWork})
			done(t, s, deed{org: s.NewOrg(t, fmt.Sprintf("o%02d", i)), user: who, ago: time.Hour, work: time.Duration(100+i) * acuWork})
		}
		b := signedIn(t, s, s.Admin.Token.Reveal())
		ranks := ranksOn(t, b.get("/orgs/"+s.Org+"/usage").body, "Who used most")
		require.Len(t, ranks, 11)
		require.Equal(t, "p12@example.com: 13.00 ACU", ranks[0])
		require.Equal(t, "p03@example.com: 4.00 ACU", ranks[9])
		require.Equal(t, "Everybody else: 6.00 ACU", ranks[10])
		ranks = ranksOn(t, b.get("/enterprise/usage").body, "Organizations that used most")
		require.Len(t, ranks, 11)
		require.Equal(t, "o12: 112.00 ACU", ranks[0])
		require.Equal(t, "Other organizations: 394.00 ACU", ranks[10], "100, 101 and 102 of others, and 91 of the first")
	})
}

func TestOrganizationsOfSeveralPagesAreCompared(t *testing.T) {
	t.Parallel()
	servertest.Each(t, usageTime(), func(t *testing.T, s *servertest.Server) {
		var deeds []deed
		require.NoError(t, s.DB.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			for i := range 700 {
				id := fmt.Sprintf("org-%04d", i)
				if _, err := db.Exec(ctx, tx, `INSERT INTO organizations (org_id, name, created_at, updated_at) VALUES ($1, $1, 1, 1)`, id); err != nil {
					return err
				}
				if i%100 == 99 {
					deeds = append(deeds, deed{org: id, robot: "x", ago: time.Hour, work: time.Duration(i) * time.Minute})
				}
			}
			return nil
		}))
		done(t, s, deeds...)
		require.Equal(t, []string{
			"org-0699: 46.60 ACU", "org-0599: 39.93 ACU", "org-0499: 33.27 ACU", "org-0399: 26.60 ACU", "org-0299: 19.93 ACU", "org-0199: 13.27 ACU", "org-0099: 6.60 ACU",
		}, ranksOn(t, signedIn(t, s, s.Admin.Token.Reveal()).get("/enterprise/usage").body, "Organizations that used most"))
	})
}

// Where organizations or people are more than a page compares, it says so instead of leaving some out.
func TestTooManyToCompareIsSaid(t *testing.T) {
	t.Parallel()
	servertest.Each(t, usageTime(), func(t *testing.T, s *servertest.Server) {
		done(t, s, deed{org: s.Org, robot: "x", ago: time.Hour, work: acuWork})
		require.NoError(t, s.DB.Write(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			for i := range 1000 {
				if _, err := db.Exec(ctx, tx, `INSERT INTO organizations (org_id, name, created_at, updated_at) VALUES ($1, 'x', 1, 1)`, fmt.Sprintf("org-%04d", i)); err != nil {
					return err
				}
				if _, err := db.Exec(ctx, tx, `INSERT INTO users (user_id, email, email_key, name, created_at) VALUES ($1, $1, $1, 'x', 1)`, fmt.Sprintf("u%04d", i)); err != nil {
					return err
				}
			}
			return nil
		}))
		b := signedIn(t, s, s.Admin.Token.Reveal())
		p := b.get("/enterprise/usage")
		shows(t, p.body, "too many to compare here")
		hides(t, p.body, "Other organizations")
		p = b.get("/orgs/" + s.Org + "/usage")
		hides(t, p.body, "too many to compare here", "those of the organization are few")
		shows(t, p.body, "Everybody else")
	})
}

package console_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"gantry/internal/access"
	"gantry/internal/org"
	"gantry/internal/rollup"
	"gantry/internal/servertest"
)

// scheme has the browser prefer light or dark.
func (v *screen) scheme(name string) {
	v.t.Helper()
	v.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return err
	}))
}

// busyQuarter is three months of a team: quiet weekends, a rush, a few days without anything.
func busyQuarter(t *testing.T, s *servertest.Server) {
	t.Helper()
	var people []string
	for _, name := range []string{"ada@example.com", "grace.hopper@example.com", "linus@example.com", "margaret@example.com", "ken@example.com", "barbara.liskov-of-the-long-address@subdomain.example.com"} {
		id, _ := s.NewPerson(t, name, s.Org, access.RoleOrgMember)
		people = append(people, id)
	}
	robot, other := s.NewKey(t, s.Org, access.RoleOrgMember).ServiceUserID, s.NewOrg(t, "An organization whose name is rather long for a line")
	kinds := []string{"bug_fixing", "feature_development", "unit_test_generation", "ci_cd_and_devops", "bug_fixing", "code_review_and_analysis"}
	var deeds []deed
	for day := range 150 {
		at := usageDay.AddDate(0, 0, -day)
		n := (day*7)%5 + 2
		switch {
		case at.Weekday() == time.Saturday || at.Weekday() == time.Sunday:
			n = day % 3 / 2
		case day > 40 && day < 45:
			n = 0
		case day == 12:
			n = 14
		}
		for i := range n {
			d := deed{org: s.Org, ago: time.Duration(day)*24*time.Hour + time.Duration(i)*7*time.Minute, work: time.Duration((day*13+i*29)%55+4) * time.Minute, category: kinds[(day+i)%len(kinds)]}
			if i%4 == 3 {
				d.robot = robot
			} else {
				d.user = people[(day*3+i*i)%len(people)]
			}
			if i%2 == 0 {
				d.pulls = []string{[]string{rollup.Merged, rollup.Open, rollup.Merged, rollup.Closed}[(day+i/2)%4]}
			}
			if i == 1 {
				d.org = other
			}
			deeds = append(deeds, d)
		}
	}
	done(t, s, deeds...)
	limit := int64(60)
	_, err := s.Orgs.Update(t.Context(), s.Root(), org.UpdateParams{OrgID: s.Org, CycleLimit: org.LimitChange{Set: true, Value: &limit}})
	require.NoError(t, err)
}

// overlaps names two texts of a chart that lie on each other, or one that reaches out of its panel, or is too small to be read.
const overlaps = `(() => {
	for (const svg of document.querySelectorAll("svg.chart")) {
		const panel = svg.closest("section").getBoundingClientRect();
		const texts = [...svg.querySelectorAll("text")].map(e => [e.textContent, e.getBoundingClientRect()]);
		for (const [a, r] of texts) {
			if (r.left < panel.left || r.right > panel.right || r.height < 10) return svg.querySelector("title").textContent + ": " + a + " " + JSON.stringify(r);
			for (const [b, o] of texts)
				if (r !== o && r.left < o.right && o.left < r.right && r.top < o.bottom && o.top < r.bottom) return a + " on " + b;
		}
		const frame = svg.getBoundingClientRect();
		for (const e of svg.querySelectorAll(".part")) {
			const r = e.getBoundingClientRect();
			if (r.width < 1 || r.height < .9 || r.left < panel.left || r.right > panel.right || r.top < frame.top || r.bottom > frame.bottom) return "a bar of " + JSON.stringify(r);
		}
	}
	return "";
})()`

// unlike is how far the bars' colours are from the panel's, as the least contrast of any (WCAG asks pictures for 3).
const unlike = `(() => {
	const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
	const light = colour => {
		canvas.clearRect(0, 0, 1, 1);
		canvas.fillStyle = colour;
		canvas.fillRect(0, 0, 1, 1);
		const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(c => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
		return .2126 * r + .7152 * g + .0722 * b + .05;
	};
	const ground = light(getComputedStyle(document.querySelector(".figure")).backgroundColor);
	return Math.min(...[...document.querySelectorAll(".part")].map(e => {
		const bar = light(getComputedStyle(e).fill);
		return Math.max(bar, ground) / Math.min(bar, ground);
	}));
})()`

func TestUsageIsReadOnAnyScreen(t *testing.T) {
	t.Parallel()
	chromium(t)
	for _, c := range []struct {
		name          string
		width, height int64
	}{{"usage-desk", 1280, 900}, {"usage-phone", 360, 740}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := servertest.New(t, usageTime())
			v := look(t, s, c.name, c.width, c.height, false)
			v.goTo("/login?next=" + "/orgs/" + s.Org + "/usage")
			v.write("#key", s.Admin.Token.Reveal()+"\r")
			v.reads("Nothing was used in the last 30 days.")
			v.fits()
			v.shoot("empty")
			busyQuarter(t, s)
			for _, scheme := range []string{"light", "dark"} {
				v.scheme(scheme)
				for _, path := range []string{"/orgs/" + s.Org + "/usage", "/enterprise/usage"} {
					for _, days := range []int{7, 30, 90} {
						v.goTo(path + "?days=" + strconv.Itoa(days))
						v.is(fmt.Sprintf("[...document.querySelectorAll('svg.chart')].filter(e => e.querySelectorAll('.bar').length === %d).length === 4", days))
						v.is("document.querySelector('.bar title').textContent.includes('ACU')")
						v.fits()
						wrong, err := chromedp.Run(v.ctx, chromedp.Evaluate[string](overlaps))
						require.NoError(t, err)
						require.Empty(t, wrong, "%s of %d days", path, days)
						contrast, err := chromedp.Run(v.ctx, chromedp.Evaluate[float64](unlike))
						require.NoError(t, err)
						require.Greater(t, contrast, 3., "bars against their ground, %s", scheme)
						v.shoot(fmt.Sprintf("%s-%s-%d", map[bool]string{true: "all", false: "org"}[path == "/enterprise/usage"], scheme, days))
					}
				}
			}
			v.tap("nav.spans a")
			v.is("location.search === '?days=7' && document.querySelector('nav.spans [aria-current]').textContent === '7 days'")
			v.tap(".numbers summary")
			v.is("document.querySelector('.numbers[open] tbody').rows.length === 7")
			v.fits()
			v.shoot("numbers")
			v.goTo("/enterprise/usage?days=7")
			v.tap(".ranks a")
			v.is("location.pathname.startsWith('/orgs/') && location.search === '?days=7'")
			v.quietly()
		})
	}
}

package console

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestAnAxisHasFewRoundLinesAndNothingAboveTheLast(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		most      float64
		whole     bool
		step, top float64
	}{
		{0, false, 1, 1},
		{-1, false, 1, 1},
		{math.NaN(), false, 1, 1},
		{math.Inf(1), false, 1, 1},
		{0, true, 1, 1},
		{1, true, 1, 1},
		{2, true, 1, 2},
		{3, true, 1, 3},
		{4, true, 1, 4},
		{5, true, 2, 6},
		{7, true, 2, 8},
		{9, true, 5, 10},
		{41, true, 20, 60},
		{100, true, 50, 100},
		{101, true, 50, 150},
		{1, false, .5, 1},
		{.04, false, .01, .04},
		{.05, false, .02, .06},
		{12.3, false, 5, 15},
		{9_999_999_999, true, 5e9, 1e10},
	} {
		step, top := scale(c.most, c.whole)
		require.InDelta(t, c.step, step, 1e-9*c.step, "%v", c.most)
		require.InDelta(t, c.top, top, 1e-9*c.top, "%v", c.most)
	}
	rapid.Check(t, func(t *rapid.T) {
		most, whole := math.Pow(10, rapid.Float64Range(-6, 15).Draw(t, "power")), rapid.Bool().Draw(t, "whole")
		step, top := scale(most, whole)
		require.GreaterOrEqual(t, top, most*(1-1e-9))
		require.Less(t, top-step, most, "one line above is enough")
		require.LessOrEqual(t, math.Round(top/step), float64(ticksMost))
		first := strings.TrimRight(strings.Split(strconv.FormatFloat(step, 'e', 6, 64), "e")[0], "0")
		require.Contains(t, []string{"1.", "2.", "5."}, first, "%v", step)
		if whole {
			require.InDelta(t, math.Round(step), step, 1e-6)
		}
	})
}

func TestNumbersOfAnAxisAreShort(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n, step float64
		want    string
	}{
		{0, 1, "0"},
		{3, 1, "3"},
		{.5, .5, "0.5"},
		{1, .5, "1"},
		{.04, .01, "0.04"},
		{.1, .05, "0.1"},
		{900, 100, "900"},
		{1000, 500, "1k"},
		{1500, 500, "1.5k"},
		{20_000, 10_000, "20k"},
		{2e6, 1e6, "2M"},
		{1.5e9, 5e8, "1.5B"},
		{4e12, 1e12, "4T"},
		{4e15, 1e15, "4000T"},
		{3 * .1, .1, "0.3"},
		{1e-6, 1e-6, "0.000001"},
	} {
		require.Equal(t, c.want, short(c.n, c.step))
	}
}

var friday = time.Date(2026, 3, 6, 0, 0, 0, 0, time.UTC)

func charted(values ...float64) chart {
	return chart{
		id: "x", title: "Sessions by day", unit: "sessions", text: whole, whole: true, days: daysFrom(friday, len(values)),
		of: []series{{"sessions", "first", values}},
	}.draw()
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	require.NoError(t, err)
	return n
}

func TestEveryDayHasABarAsHighAsItsNumber(t *testing.T) {
	t.Parallel()
	c := charted(0, 5, 10, 1e-9)
	require.Len(t, c.bars, 4)
	floor := plotTop + plotHeight
	for i, want := range []float64{zeroBar, plotHeight / 2, plotHeight, leastBar} {
		require.Len(t, c.bars[i].parts, 2)
		hit, p := c.bars[i].parts[0], c.bars[i].parts[1]
		require.InDelta(t, want, number(t, p.height), .06, "of day %d", i)
		require.InDelta(t, floor, number(t, p.y)+number(t, p.height), .11, "a bar stands on the zero line")
		require.InDelta(t, 25*float64(i), number(t, hit.x), .01, "its whole column answers a pointer")
		require.Equal(t, "25%", hit.width)
		require.Greater(t, number(t, p.x), number(t, hit.x), "bars don't touch")
	}
	require.Equal(t, "part", c.bars[0].parts[1].tone, "a day without is to be seen, and isn't mistaken for a little")
	require.Equal(t, "Fri 6 Mar: 0 sessions", c.bars[0].tip)
	require.Equal(t, "Sat 7 Mar: 5 sessions", c.bars[1].tip)
	require.Equal(t, []tick{{"162", "0"}, {"87", "5"}, {"12", "10"}}, c.ticks)
	require.Contains(t, c.desc(), "from 6 Mar 2026 to 9 Mar 2026. The most is 10 sessions on 8 Mar")
	require.False(t, c.empty())
	require.True(t, charted(0, 0).empty())
}

func TestAChartOfOneDayOrNoneIsDrawn(t *testing.T) {
	t.Parallel()
	one := charted(3)
	require.Len(t, one.bars, 1)
	require.Equal(t, "100%", one.bars[0].parts[0].width)
	require.Equal(t, []label{{"50%", "Fri"}}, one.labels)
	none := charted()
	require.Empty(t, none.bars)
	require.True(t, none.empty())
	require.NotEmpty(t, none.desc())
}

func TestPartsOfADayStandOnEachOther(t *testing.T) {
	t.Parallel()
	c := chart{
		id: "x", text: whole, whole: true, days: daysFrom(friday, 2),
		of: []series{{"merged", "first", []float64{2, 0}}, {"open", "second", []float64{1, 0}}, {"closed", "third", []float64{0, 4}}},
	}.draw()
	require.Equal(t, "Fri 6 Mar: 2 merged, 1 open, 0 closed", c.bars[0].tip)
	parts := c.bars[0].parts[1:]
	require.Len(t, parts, 2)
	require.InDelta(t, number(t, parts[0].y), number(t, parts[1].y)+number(t, parts[1].height), .11)
	require.Equal(t, "part third", c.bars[1].parts[1].tone)
	require.InDelta(t, plotHeight, number(t, c.bars[1].parts[1].height), .1, "the highest day reaches the highest line")
}

func TestDaysAreNamedAsFarAsThereIsRoom(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 7, 8, 30, 90, 365} {
		c := charted(make([]float64, n)...)
		require.LessOrEqual(t, len(c.labels), 7, "%d days", n)
		require.GreaterOrEqual(t, len(c.labels), min(n, 4), "%d days", n)
		for _, l := range c.labels {
			require.GreaterOrEqual(t, number(t, l.x), min(50, 100/float64(n)/2), "%d days", n)
			require.Less(t, number(t, l.x), 96., "the last isn't cut off: %d days", n)
		}
	}
}

// Whatever the numbers are, the drawing stays within its frame and is well-formed.
func TestAnyNumbersAreDrawnWithinTheFrame(t *testing.T) {
	t.Parallel()
	huge := []float64{0, 1, math.MaxInt64, 1e-300, 1e300, 42}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 100).Draw(t, "days")
		values := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(huge), rapid.Float64Range(0, 1e6)), n, n)
		c := chart{
			id: "x", title: "x", unit: "ACU", text: acus, days: daysFrom(friday, n),
			of: []series{{"a", "first", values.Draw(t, "a")}, {"b", "second", values.Draw(t, "b")}},
		}.draw()
		require.LessOrEqual(t, len(c.ticks), ticksMost+1)
		for _, b := range c.bars {
			for _, p := range b.parts[1:] {
				y, err := strconv.ParseFloat(p.y, 64)
				require.NoError(t, err)
				height, err := strconv.ParseFloat(p.height, 64)
				require.NoError(t, err)
				require.GreaterOrEqual(t, y, 0.)
				require.LessOrEqual(t, y+height, plotTop+plotHeight+.2)
			}
		}
		var out strings.Builder
		require.NoError(t, chartView(c).Render(t.Context(), &out))
		require.NotContains(t, out.String(), "NaN")
		require.NotContains(t, out.String(), "Inf")
		wellFormed(t, out.String())
	})
}

func wellFormed(t require.TestingT, text string) {
	d := xml.NewDecoder(strings.NewReader("<page>" + text + "</page>"))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			require.NoError(t, err, text)
		}
	}
}

const evil = `"><script>alert(1)</script><svg onload='alert(2)'>&`

func TestNamesInChartsAreTexts(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	c := charted(1, 2)
	c.title, c.unit, c.of[0].name = evil, evil, evil
	require.NoError(t, chartView(c.draw()).Render(t.Context(), &out))
	list := []rank{{name: evil, id: evil, hint: evil, text: evil, link: "/orgs/" + evil, value: 1}, {name: evil, rest: true}}
	require.NoError(t, rankingView(&ranking{title: evil, list: list}).Render(t.Context(), &out))
	require.NoError(t, rankingView(&ranking{title: evil, note: evil}).Render(t.Context(), &out))
	wellFormed(t, out.String())
	require.NotContains(t, out.String(), "<script")
	require.NotContains(t, out.String(), "<svg onload")
	require.NotContains(t, out.String(), " style=")
}

func TestBarsOfAListAreInProportion(t *testing.T) {
	t.Parallel()
	list := []rank{{value: 200}, {value: 50}, {value: .001}, {value: 0}, {value: 100, rest: true}}
	for i, want := range []string{"100%", "25%", "0.5%", "0", "50%"} {
		require.Equal(t, want, list[i].share(list))
	}
	require.Equal(t, "0", rank{}.share(nil))
}

func TestTrendsAreSaidInWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		now, before float64
		want        string
	}{
		{0, 0, ""},
		{3, 0, "none in the 7 days before"},
		{3, 3, "as in the 7 days before"},
		{1000, 1001, "as in the 7 days before"},
		{3, 2, "50 % more than in the 7 days before"},
		{0, 5, "100 % less than in the 7 days before"},
		{1, 4, "75 % less than in the 7 days before"},
		{1000, 1, "1000 times the 7 days before"},
		{10, 1, "10 times the 7 days before"},
	} {
		require.Equal(t, c.want, trend(c.now, c.before, 7))
	}
}

func TestOnlyTheSpansThatAreOfferedAreShown(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"7": 7, "30": 30, "90": 90, "": 30, "8": 30, "-7": 30, "100000": 30, "x": 30, "9999999999999999999999": 30} {
		require.Equal(t, want, spanOf(text), text)
	}
}

func TestKindsOfWorkAreNamedForPeople(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"bug_fixing": "Bug fixing", "ci_cd_and_devops": "CI/CD and DevOps", "other": "Other", "unit_test_generation": "Unit test generation", "": "",
	} {
		require.Equal(t, want, kindName(in))
	}
}

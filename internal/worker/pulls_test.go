package worker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gantry/internal/wire"
)

func message(text string) wire.Event {
	return wire.Event{Type: wire.EventMessage, Data: encode(wire.MessageData{Text: text})}
}

func printed(call, text string) wire.Event {
	return wire.Event{Type: wire.EventToolOutput, Data: encode(wire.ToolOutputData{ID: call, Text: text})}
}

func newPulls() *pulls {
	return &pulls{repos: []wire.Repository{
		{Name: "acme/shop", URL: "https://github.com/acme/shop.git"}, {Name: "acme/web", URL: "git@gitlab.com:acme/web.git"}, {Name: "gone", Refused: "it is gone"},
	}}
}

const onShop, onWeb = "https://github.com/acme/shop/pull/", "https://gitlab.com/acme/web/-/merge_requests/"

// noticed gives the addresses that come of events, and of what the text ends with.
func noticed(p *pulls, events ...wire.Event) []string {
	out := []string{}
	for _, e := range events {
		for _, d := range p.take(e) {
			out = append(out, d.URL)
		}
	}
	for _, d := range p.end() {
		out = append(out, d.URL)
	}
	return out
}

func TestPullRequestsOfTheSessionsOwnRepositoriesAreNoticed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		events []wire.Event
		want   []string
	}{
		"in a message":            {[]wire.Event{message("opened " + onShop + "1, see there")}, []string{onShop + "1"}},
		"at a message's end":      {[]wire.Event{message("opened " + onShop + "1"), message("Next: more")}, []string{onShop + "1"}},
		"in output":               {[]wire.Event{printed("a", "remote:   "+onWeb+"22\n")}, []string{onWeb + "22"}},
		"in two pieces":           {[]wire.Event{printed("a", onShop[:20]), printed("a", onShop[20:]+"1"), printed("a", "2\n")}, []string{onShop + "12"}},
		"of two calls":            {[]wire.Event{printed("a", onShop+"1"), printed("b", "2\n")}, []string{onShop + "1"}},
		"while a call goes on":    {[]wire.Event{printed("a", onShop+"1"), {Type: wire.EventTool, Data: encode(wire.ToolData{ID: "b"})}, printed("a", "2\n")}, []string{onShop + "12"}},
		"in a call's result":      {[]wire.Event{{Type: wire.EventTool, Data: encode(wire.ToolData{ID: "a", Output: encode(map[string]string{"url": onShop + "3"})})}}, []string{onShop + "3"}},
		"once":                    {[]wire.Event{message(onShop + "1 " + onShop + "1/files"), printed("a", strings.Replace(onShop, "acme", "Acme", 1)+"1\n")}, []string{onShop + "1"}},
		"never of a thought":      {[]wire.Event{{Type: wire.EventThought, Data: encode(wire.MessageData{Text: onShop + "1"})}}, nil},
		"never of another's":      {[]wire.Event{message("https://github.com/acme/other/pull/1 https://github.com.evil.example/acme/shop/pull/1 https://evil.example/" + onShop + "x")}, nil},
		"never of what is hidden": {[]wire.Event{message("https://***@github.com/acme/shop/pull/1 https://github.com/***/shop/pull/1")}, nil},
		"nor of what isn't JSON":  {[]wire.Event{{Type: wire.EventMessage, Data: []byte(`"` + onShop + `1"`)}, {Type: wire.EventTool, Data: []byte("[]")}, {Type: wire.EventToolOutput}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, append([]string{}, c.want...), noticed(newPulls(), c.events...))
		})
	}
}

func TestAPushReportsThePullRequestsOfItsRepositoryAgain(t *testing.T) {
	t.Parallel()
	p := newPulls()
	noticed(p, message(onShop+"1 "+onShop+"2 "+onWeb+"3"))
	require.Equal(t, []wire.PullRequestData{{URL: onShop + "1", Pushed: []string{"fix"}}, {URL: onShop + "2", Pushed: []string{"fix"}}}, p.push("acme/shop", []string{"fix"}))
	require.Empty(t, p.push("acme/shop", []string{"fix"}), "nothing new")
	require.Equal(t, []wire.PullRequestData{{URL: onShop + "4", Pushed: []string{"fix"}}}, p.take(printed("a", onShop+"4 ")))

	// Both are bounded, and the newest are kept.
	var many []string
	for i := range 3 * maxPushed {
		many = append(many, fmt.Sprint("b", i))
	}
	require.Len(t, p.push("acme/web", many)[0].Pushed, maxPushed)
	for i := range 3 * maxSighted {
		p.take(printed("a", fmt.Sprint(onShop, 10+i, "\n")))
	}
	require.Len(t, p.seen, maxSighted)
	require.Equal(t, fmt.Sprint(onShop, 10+3*maxSighted-1), p.seen[maxSighted-1].URL)
}

// What a session's other claims saw is known to the next.
func TestWhatWasNoticedIsRemembered(t *testing.T) {
	t.Parallel()
	n, m := &narrator{pulls: *newPulls()}, &memory{}
	n.pulls.take(message(onShop + "1 "))
	n.pulls.push("acme/shop", []string{"fix"})
	n.keep(m)
	next := &narrator{pulls: *newPulls()}
	next.recall(m)
	require.Empty(t, next.pulls.take(message(onShop+"1 ")))
	require.Empty(t, next.pulls.push("acme/shop", []string{"fix"}))
	require.Len(t, next.pulls.push("acme/shop", []string{"more"}), 1)
	require.Equal(t, []string{"fix"}, m.Pushed["acme/shop"])
}

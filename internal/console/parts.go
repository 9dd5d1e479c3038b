package console

import (
	"cmp"
	"net/http"
	"time"

	"github.com/a-h/templ"

	"gantry/internal/session"
)

// htmxConfig has the script keep to the policy of the pages: no style of its own, and no page put together from parts on the way back.
const htmxConfig = `{"includeIndicatorCSS":false,"history":"reload","mode":"same-origin"}`

func current(on bool) templ.Attributes { return attr(on, "aria-current", "page") }

func relative(on bool) templ.Attributes { return attr(on, "data-relative", "1") }

func busy(on bool) string {
	if on {
		return " busy"
	}
	return ""
}

func refusalTitle(status int) string {
	switch status {
	case http.StatusForbidden:
		return "Not allowed"
	case http.StatusNotFound:
		return "Nothing here"
	case http.StatusTooManyRequests:
		return "Too fast"
	case http.StatusServiceUnavailable:
		return "Not available right now"
	case http.StatusInternalServerError:
		return "Something went wrong"
	}
	return "Not possible"
}

// timeText is a moment as a page shows it.
type timeText struct {
	stamp, moment, text string
	relative            bool
}

// since shows how long ago something was.
func since(now, t time.Time) timeText {
	return timeText{stamp: stamp(t), moment: moment(t), text: ago(now, t), relative: true}
}

// at shows the time of day.
func at(t time.Time) timeText { return timeText{stamp: stamp(t), moment: moment(t), text: hour(t)} }

// date shows the whole moment, which the script says as how long ago it was.
func date(t time.Time) timeText {
	return timeText{stamp: stamp(t), moment: moment(t), text: moment(t), relative: true}
}

// origins are the choices of where a session was started from.
var origins = []choice{
	{"webapp", "the console"},
	{"api", "the API"},
	{"automation", "a schedule"},
	{"cli", "the command line"},
	{"slack", "Slack"},
	{"teams", "Teams"},
	{"linear", "Linear"},
	{"jira", "Jira"},
	{"other", "elsewhere"},
}

// invalid marks the field that a refusal is about.
func invalid(f sessionForm, field string) templ.Attributes {
	return attr(f.field == field && field != "", "aria-invalid", "true")
}

// books are the playbooks to choose from, with the chosen one even if it isn't among those listed.
func (f sessionForm) books() []choice {
	for _, b := range f.playbooks {
		if b.value == f.playbook {
			return f.playbooks
		}
	}
	if f.playbook == "" {
		return f.playbooks
	}
	return append([]choice{{f.playbook, f.playbook}}, f.playbooks...)
}

// openPulls say what became of a session's pull requests.
func openPulls(s *session.Session) []string {
	out := make([]string, 0, len(s.PullRequests))
	for _, p := range s.PullRequests {
		out = append(out, "PR "+clean(cmp.Or(p.State, "opened")))
	}
	return out
}

func orElse(s, other string) string { return cmp.Or(s, other) }

package session

import (
	"strconv"
	"strings"

	"gantry/internal/platform/page"
)

// ListQuery gives the SQL of a list's second page with its arguments in place, for a look at its plan.
func ListQuery(f Filter) string {
	query, args := f.query(page.Request{First: 10, After: page.Position{int64(5), "x"}})
	for i := len(args); i > 0; i-- {
		value := "'x'"
		switch a := args[i-1].(type) {
		case int64:
			value = strconv.FormatInt(a, 10)
		case int:
			value = strconv.Itoa(a)
		}
		query = strings.ReplaceAll(query, "$"+strconv.Itoa(i), value)
	}
	return query
}

// FirstQuery gives the statement of a list's first page.
func FirstQuery(f Filter) (string, []any) { return f.query(page.Request{First: 100}) }

// Attached gives the addresses of a request and of its text's attachment lines.
func (v *Service) Attached(urls []string, text string) []string { return v.attached(urls, text) }

// DueQuery is the statement that looks for pull requests to be asked about.
const DueQuery = dueQuery

package playbook

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
)

// Given is a playbook that a session is to be given. Its text is read by Texts.
type Given struct {
	ID         string
	AccessType string
	Title      string
	Macro      string
	Schema     json.RawMessage
	Size       int64
	Hash       string
}

const givenColumns = `playbook_id, org_id, title, macro, structured_output_schema, size, hash`

func scanGiven(r db.Scanner) (Given, error) {
	var g Given
	var org string
	var schema sql.NullString
	err := r.Scan(&g.ID, &org, &g.Title, db.OrEmpty(&g.Macro), &schema, &g.Size, &g.Hash)
	g.AccessType, g.Schema = accessType(org), raw(schema)
	return g, err
}

// Named gives a playbook of the organization or the enterprise. Any other is a 404 that names the field (contract/behaviour.md §3.4).
func (s *Service) Named(ctx context.Context, orgID, field, playbookID string) (Given, error) {
	rows, err := db.All(ctx, s.db.Reader(), scanGiven, `SELECT `+givenColumns+` FROM playbooks
		WHERE org_id IN ('', $1) AND playbook_id = $2`, orgID, playbookID)
	if err != nil {
		return Given{}, err
	}
	if len(rows) == 0 {
		return Given{}, fault.New(fault.NotFound, "%s: no such playbook", field)
	}
	return rows[0], nil
}

// Called gives the playbooks that macros call, in their order: the organization's before the enterprise's. Unknown ones call nothing.
func (s *Service) Called(ctx context.Context, orgID string, macros []string) ([]Given, error) {
	if len(macros) == 0 {
		return nil, nil
	}
	var w db.Where
	w.Add("org_id IN ('', ?)", orgID)
	w.In("macro", macros)
	where := w.SQL()
	rows, err := db.All(ctx, s.db.Reader(), scanGiven, `SELECT `+givenColumns+` FROM playbooks`+where, w.Args()...)
	var out []Given
	for _, m := range macros {
		for _, access := range []string{AccessOrg, AccessEnterprise} {
			if k := slices.IndexFunc(rows, func(g Given) bool { return g.Macro == m && g.AccessType == access }); k >= 0 {
				out = append(out, rows[k])
				break
			}
		}
	}
	return out, err
}

// Text is a body with its hash, as they are now.
type Text struct{ ID, Hash, Body string }

// Texts reads the bodies of playbooks. One that is gone by now is missing.
func (s *Service) Texts(ctx context.Context, ids []string) (map[string]Text, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var w db.Where
	w.In("playbook_id", ids)
	where := w.SQL()
	rows, err := db.All(ctx, s.db.Reader(), func(r db.Scanner) (t Text, err error) {
		err = r.Scan(&t.ID, &t.Hash, &t.Body)
		return t, err
	}, `SELECT playbook_id, hash, body FROM playbooks`+where, w.Args()...)
	out := make(map[string]Text, len(rows))
	for _, t := range rows {
		out[t.ID] = t
	}
	return out, err
}

// MaxMacros is how many different macros of one text are looked at.
const MaxMacros = 8

// Macros finds the words of a text that may be macros, each once, in their order: a ! at the beginning of a word, and what may follow
// it. Fenced blocks and code between backticks are left alone: `! grep -q x` is a script's own.
func Macros(text string) []string {
	var out []string
	var fence string
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		if fence != "" {
			if strings.HasPrefix(trimmed, fence) && strings.Trim(trimmed, fence[:1]) == "" {
				fence = ""
			}
			continue
		}
		if fence = fenceOf(trimmed); fence != "" {
			continue
		}
		for _, m := range macrosOf(line) {
			if !slices.Contains(out, m) {
				out = append(out, m)
			}
			if len(out) == MaxMacros {
				return out
			}
		}
	}
	return out
}

// fenceOf gives the fence that a line opens, empty when it opens none.
func fenceOf(line string) string {
	for _, c := range []string{"`", "~"} {
		rest := strings.TrimLeft(line, c)
		if n := len(line) - len(rest); n >= 3 && (c == "~" || !strings.Contains(rest, "`")) {
			return line[:n]
		}
	}
	return ""
}

// macrosOf finds the macros of one line outside its backticks.
func macrosOf(line string) []string {
	var out []string
	before := byte(' ')
	for i := 0; i < len(line); {
		end := i + 1
		switch {
		case line[i] == '`':
			end = afterCode(line, i)
		case line[i] == '!' && strings.IndexByte(" \t([{\"',;:", before) >= 0:
			for end < len(line) && isMacroByte(line[end]) {
				end++
			}
			ends := end == len(line) || line[end] < utf8.RuneSelf // !größe is a word that no macro can be
			if ends && end > i+1 && end-i <= MaxMacro {
				out = append(out, line[i:end])
			}
		}
		before, i = line[end-1], end
	}
	return out
}

// afterCode is where the code that begins with the backticks at i ends; without an end they are backticks only.
func afterCode(line string, i int) int {
	open := i
	for open < len(line) && line[open] == '`' {
		open++
	}
	for k := open; k < len(line); k++ {
		run := k
		for run < len(line) && line[run] == '`' {
			run++
		}
		if run-k == open-i {
			return run
		}
		k = max(k, run-1)
	}
	return open
}

func isMacroByte(c byte) bool {
	return c == '_' || c == '-' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/client"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/config"
)

type auditCmd struct {
	Head   auditHeadCmd   `cmd:"" help:"Seal the audit log up to now and print an anchor to keep elsewhere. Needs the data directory."`
	Verify auditVerifyCmd `cmd:"" help:"Find entries that were changed, removed, inserted or cut off. Needs the data directory."`
	Export auditExportCmd `cmd:"" help:"Print the audit log as NDJSON, oldest first. Through the API."`
}

// existing is with for commands that look at the audit log.
func (o *adminOptions) existing(ctx context.Context, io *stdio, src config.Sources, f func(*admin, *audit.Service) error) error {
	return o.with(ctx, io, src, func(a *admin) error { return f(a, audit.New(a.DB)) })
}

type auditHeadCmd struct {
	adminOptions `embed:""`
}

// Run prints the anchor.
func (c *auditHeadCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	return c.existing(ctx, io, src, func(_ *admin, log *audit.Service) error {
		a, err := log.Head(ctx, operator("audit head", access.ManageEnterpriseSettings))
		if err != nil {
			return err
		}
		if c.JSON {
			return io.json(map[string]any{"anchor": a.String(), "entries": a.Number})
		}
		io.printf("%s\n", a)
		return nil
	})
}

type auditVerifyCmd struct {
	adminOptions `embed:""`
	Anchor       string `help:"What an earlier audit head printed; finds an end that was cut off since." placeholder:"ANCHOR"`
}

// Help is shown below the flags.
func (auditVerifyCmd) Help() string {
	return "Changes nothing, and may run beside a server. Exits 0 when the log is whole and 3 when something is wrong with it.\n" +
		"Without --anchor an end that was cut off by somebody who also changed the seal's head stays unseen."
}

// verifyJSON is the report for scripts.
type verifyJSON struct {
	Whole    bool          `json:"whole"`
	Sealed   int64         `json:"sealed"`
	Unsealed int64         `json:"unsealed"`
	Head     string        `json:"head"`
	Wrong    int           `json:"wrong"`
	Findings []findingJSON `json:"findings"`
}

type findingJSON struct {
	Kind       audit.FindingKind `json:"kind"`
	Number     *int64            `json:"number"`
	AuditLogID *string           `json:"audit_log_id"`
	Text       string            `json:"text"`
}

// Run reads the whole log.
func (c *auditVerifyCmd) Run(ctx context.Context, io *stdio, src config.Sources) error {
	var anchor audit.Anchor
	if c.Anchor != "" {
		var err error
		if anchor, err = audit.ParseAnchor(c.Anchor); err != nil {
			return operatorError(err)
		}
	}
	return c.existing(ctx, io, src, func(_ *admin, log *audit.Service) error {
		r, err := log.Verify(ctx, operator("audit verify", access.ManageEnterpriseSettings), anchor)
		if err != nil {
			return err
		}
		if err := c.print(io, r); err != nil {
			return err
		}
		if r.Wrong > 0 {
			return exitCode(exitError)
		}
		return nil
	})
}

func (c *auditVerifyCmd) print(io *stdio, r *audit.Report) error {
	if c.JSON {
		out := verifyJSON{Whole: r.Wrong == 0, Sealed: r.Sealed, Unsealed: r.Fresh, Head: r.Head.String(), Wrong: r.Wrong, Findings: []findingJSON{}}
		for _, f := range r.Findings {
			j := findingJSON{Kind: f.Kind, Text: f.Text}
			if f.Number != 0 {
				j.Number = &f.Number
			}
			if f.ID != "" {
				j.AuditLogID = &f.ID
			}
			out.Findings = append(out.Findings, j)
		}
		return io.json(out)
	}
	for _, f := range r.Findings {
		io.printf("%s\n", clean(fmt.Sprintf("%-9s %8d  %s  %s", f.Kind, f.Number, orText(f.ID, "-"), f.Text)))
	}
	if more := r.Wrong - len(r.Findings); more > 0 {
		io.printf("… and %d more\n", more)
	}
	state := "whole"
	if r.Wrong > 0 {
		state = fmt.Sprintf("NOT whole, %d wrong", r.Wrong)
	}
	io.printf("%s   %d entries sealed, %d not yet\n", state, r.Sealed, r.Fresh)
	return nil
}

type auditExportCmd struct {
	target  `embed:""`
	OnlyOrg string  `help:"Only this organization's entries." placeholder:"ORG_ID"`
	Action  string  `help:"Only this action, like create_session." placeholder:"ACTION"`
	From    instant `help:"From this time on: 2026-03-01, 2026-03-01T12:00:00Z." placeholder:"TIME"`
	To      instant `help:"Before this time." placeholder:"TIME"`
	After   string  `help:"Go on after the cursor that an earlier export with the same choice printed." placeholder:"CURSOR"`
}

// Help is shown below the flags.
func (auditExportCmd) Help() string {
	return `Entries go to standard output, one JSON object a line. The last line on standard error is the cursor from which
--after goes on. Entries of the last half minute come again then, because others may still be committed between
them; audit_log_id tells them apart.`
}

// instant is a time of day or the beginning of a day (UTC).
type instant struct{ time.Time }

// UnmarshalText reads either form.
func (i *instant) UnmarshalText(b []byte) (err error) {
	if i.Time, err = time.Parse(time.RFC3339, string(b)); err == nil {
		return nil
	}
	if i.Time, err = time.Parse(time.DateOnly, string(b)); err != nil {
		return fmt.Errorf("%q is neither a date like 2026-03-01 nor a time like 2026-03-01T12:00:00Z", b)
	}
	return nil
}

// settleTime is how long an entry may take to be committed beside younger ones: a transaction's longest life, and what clocks differ.
const settleTime = 30 * time.Second

// exportPage is a page of the list. Its items are printed as they are.
type exportPage struct {
	Items       []json.RawMessage `json:"items"`
	EndCursor   string            `json:"end_cursor"`
	HasNextPage bool              `json:"has_next_page"`
}

// Run pages through the list.
func (c *auditExportCmd) Run(ctx context.Context, io *stdio) error {
	cl, err := c.open(io)
	if err != nil {
		return err
	}
	e := &exporter{client: cl, io: io, path: "/v3/enterprise/audit-logs", query: url.Values{"order": {"asc"}}, cursor: c.After, to: c.To.Time}
	if c.OnlyOrg != "" {
		e.path = "/v3/enterprise/organizations/" + url.PathEscape(c.OnlyOrg) + "/audit-logs"
	}
	if c.Action != "" {
		e.query.Set("action", c.Action)
	}
	if !c.From.IsZero() {
		e.query.Set("time_after", strconv.FormatInt(c.From.Unix(), 10))
	}
	e.settled = clock.Clock{}.Now().Add(-settleTime)
	err = e.run(ctx)
	if e.cursor != "" {
		io.note("%s", e.cursor)
	}
	return explain(err)
}

// exporter is one export. The list's own time_before reaches 100 days only, so the end is looked for here.
type exporter struct {
	client  *client.Client
	io      *stdio
	path    string
	query   url.Values
	to      time.Time
	settled time.Time
	// cursor stands behind the last entry that won't be joined by older ones.
	cursor string
}

func (e *exporter) page(ctx context.Context, after string, first int) (exportPage, error) {
	q := url.Values{"first": {strconv.Itoa(first)}}
	maps.Copy(q, e.query)
	if after != "" {
		q.Set("after", after)
	}
	var p exportPage
	return p, e.client.Do(ctx, client.Request{Method: http.MethodGet, Path: e.path, Query: q}, &p)
}

func (e *exporter) run(ctx context.Context) error {
	const most = 200
	for after := e.cursor; ; {
		p, err := e.page(ctx, after, most)
		if err != nil {
			return err
		}
		old, over, err := e.print(p.Items)
		if err != nil {
			return err
		}
		if old == len(p.Items) && !over {
			if p.EndCursor != "" {
				e.cursor, after = p.EndCursor, p.EndCursor
			}
			if !p.HasNextPage {
				return nil
			}
			continue
		}
		if old > 0 && e.cursor == after { // the cursor behind the settled ones of this page
			settled, err := e.page(ctx, after, old)
			if err != nil {
				return err
			}
			e.cursor = settled.EndCursor
		}
		if over || !p.HasNextPage {
			return nil
		}
		after = p.EndCursor
	}
}

// print prints a page's entries up to the end that was asked for. old counts those at its beginning that are settled.
func (e *exporter) print(items []json.RawMessage) (old int, over bool, err error) {
	var b bytes.Buffer
	for i, item := range items {
		var at struct {
			CreatedAt int64 `json:"created_at"`
		}
		if err := json.Unmarshal(item, &at); err != nil {
			return 0, false, fmt.Errorf("an entry is not the JSON that was expected: %w", err)
		}
		made := time.Unix(at.CreatedAt, 0)
		if !e.to.IsZero() && !made.Before(e.to) {
			over = true
			break
		}
		if old == i && made.Before(e.settled) {
			old++
		}
		if err := json.Compact(&b, item); err != nil {
			return 0, false, err
		}
		b.WriteByte('\n')
	}
	_, err = e.io.out.Write(b.Bytes())
	return old, over, err
}

package session

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"gantry/internal/fleet"
	"gantry/internal/forge"
	"gantry/internal/platform/db"
	"gantry/internal/rollup"
	"gantry/internal/wire"
)

// A worker reports the address of a pull request of one of the session's repositories wherever its agent writes one. Agents write what
// they read, too. So where a provider can be asked, it is, and only then the pull request counts: as opened by the session when it is younger
// than the session and brings in a branch that the session pushed to, as taken over when it is older. A session that pushed nothing has none.
// Where nobody can be asked, the first report counts as an open one.

const (
	// maxPullRequests is how many of them a session may have.
	maxPullRequests = 100
	// maxSighted is how many addresses providers are asked about for one session: its own and those that it read.
	maxSighted = 3 * maxPullRequests
	// maxBranches is how many pushed branches are kept with one.
	maxBranches = 100
	maxBranch   = 255 // bytes
)

// goodPull checks an address that a worker reports.
func goodPull(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "https" && u.Host != "" && len(address) <= MaxAttachmentID
}

// pull finds a pull request of the session; providers don't tell cases apart.
func (s *Session) pull(address string) int {
	return slices.IndexFunc(s.PullRequests, func(p PullRequest) bool { return strings.EqualFold(p.URL, address) })
}

// sight marks the reported pull requests that their providers are asked about. It comes before the transaction.
func (v *Service) sight(ctx context.Context, r fleet.Row, reports []report) error {
	var s *Session
	looked := 0
	for i := range reports {
		e := &reports[i]
		if e.Type != wire.EventPullRequest || !goodPull(e.pr.URL) {
			continue
		}
		if looked++; looked > maxPullRequests { // no honest batch has as many: nothing comes of the rest
			e.asked, e.pr.Pushed = true, nil
			continue
		}
		var err error
		if s == nil {
			if s, err = find(ctx, v.DB.Reader(), r.OrgID, r.SessionID); err != nil {
				return err
			}
		}
		e.asked, err = v.Forge.AsksAbout(ctx, forge.Pull{OrgID: s.OrgID, SessionID: s.ID, Repos: s.Repos, URL: e.pr.URL})
		if err != nil {
			return err
		}
	}
	return nil
}

// pullRequest takes a report that nobody is asked about as it is. One that says nothing new is dropped.
func (f *folding) pullRequest(evs []Event, r *report) []Event {
	d := wire.PullRequestData{URL: r.pr.URL, State: plain(r.pr.State, maxReason), TakenOver: r.pr.TakenOver}
	if !goodPull(d.URL) {
		return evs
	}
	if i := f.s.pull(d.URL); i >= 0 {
		p := &f.s.PullRequests[i]
		if d.State == "" || d.State == p.State {
			return evs
		}
		p.State, d.URL, d.TakenOver = d.State, p.URL, p.TakenOver
		return f.s.add(evs, f.now.UnixMilli(), wire.EventPullRequest, d)
	}
	if d.State == "" {
		d.State = rollup.Open
	}
	return f.s.addPull(evs, f.now, d)
}

// addPull gives the session a pull request, unless it has too many.
func (s *Session) addPull(evs []Event, now time.Time, d wire.PullRequestData) []Event {
	if len(s.PullRequests) >= maxPullRequests {
		return evs
	}
	s.PullRequests = append(s.PullRequests, PullRequest{URL: d.URL, State: d.State, At: now.UnixMilli(), TakenOver: d.TakenOver})
	return s.add(evs, now.UnixMilli(), wire.EventPullRequest, d)
}

// sightTx notes the addresses that providers are asked about.
func sightTx(ctx context.Context, tx *db.Tx, s *Session, now time.Time, sighted []wire.PullRequestData) error {
	for _, d := range sighted {
		if err := sightOneTx(ctx, tx, s, now, d); err != nil {
			return err
		}
	}
	return nil
}

// sightOneTx notes one. Without a pushed branch it can't be the session's.
func sightOneTx(ctx context.Context, tx *db.Tx, s *Session, now time.Time, d wire.PullRequestData) error {
	pushed := branches(nil, d.Pushed)
	if len(pushed) == 0 || s.pull(d.URL) >= 0 {
		return nil
	}
	known, err := db.One(ctx, tx, scanPull, `SELECT `+pullColumns+` FROM session_pulls WHERE session_id = $1 AND url = $2`, s.ID, d.URL)
	if errors.Is(err, db.ErrNone) {
		n, err := db.One(ctx, tx, db.Int, `SELECT COUNT(*) FROM session_pulls WHERE session_id = $1`, s.ID)
		if err != nil || n >= maxSighted {
			return err
		}
		_, err = db.Exec(ctx, tx, `INSERT INTO session_pulls (session_id, url, pushed, counted, since, next_at) VALUES ($1, $2, $3, 0, $4, $4)`,
			s.ID, d.URL, text(pushed), now.UnixMilli())
		return err
	}
	if err != nil {
		return err
	}
	all := branches(known.pushed, pushed)
	if len(all) == len(known.pushed) || (known.asked && !slices.Contains(all, known.branch)) {
		return nil
	}
	_, err = db.Exec(ctx, tx, `UPDATE session_pulls SET pushed = $1, since = $2, next_at = $2 WHERE session_id = $3 AND url = $4`,
		text(all), now.UnixMilli(), s.ID, d.URL)
	return err
}

// branches adds a worker's branches to those that are known, as many as are kept.
func branches(known, more []string) []string {
	out := slices.Clone(known)
	for _, b := range more {
		if b != "" && len(b) <= maxBranch && len(out) < maxBranches && plain(b, maxBranch) == b && !slices.Contains(out, b) {
			out = append(out, b)
		}
	}
	return out
}

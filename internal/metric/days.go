package metric

import (
	"context"
	"time"

	"gantry/internal/access"
	"gantry/internal/platform/db"
)

// Day is what Sessions and PullRequests give for one UTC day, as far as it is shown by day: the sessions that were made on it, and the
// pull requests first reported on it that agents authored, by their state now.
type Day struct {
	Start                  time.Time
	Sessions               int64
	Opened, Merged, Closed int64
}

// Days gives the figures of each day that a range touches, oldest first and without gaps.
func (v *Service) Days(ctx context.Context, who access.Subject, f Filter) ([]Day, error) {
	if err := mayRead(who, f.OrgID); err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	starts, err := Daily.periods(f.Range)
	if err != nil || len(starts) == 0 {
		return []Day{}, err
	}
	query, args := f.byDay([]string{"sessions", "prs_open", "prs_merged", "prs_closed"})
	rows, err := db.All(ctx, v.db.Reader(), func(r db.Scanner) (Day, error) {
		var d Day
		var day int64
		err := r.Scan(&day, &d.Sessions, &d.Opened, &d.Merged, &d.Closed)
		d.Start = time.UnixMilli(day).UTC()
		return d, err
	}, query, args...)
	if err != nil {
		return nil, err
	}
	out := make([]Day, len(starts))
	for i, at := range starts {
		out[i].Start = at
		if len(rows) > 0 && rows[0].Start.Equal(at) {
			out[i], rows = rows[0], rows[1:]
		}
	}
	return out, nil
}

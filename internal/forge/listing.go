package forge

import (
	"context"
	"time"

	"gantry/internal/access"
	"gantry/internal/platform/clock"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/jobs"
	"gantry/internal/platform/page"
)

// What a provider says is kept, and asked again when somebody looks at it and it is older than fresh.
const (
	fresh = 5 * time.Minute
	// patience is how long a request waits for a first listing.
	patience = 15 * time.Second
	// ListTime bounds one listing.
	ListTime = 2 * time.Minute
	// JobList is the kind of job that lists a connection's repositories; its argument is the connection's id.
	JobList = "git_list"
	// retryListing is how long after a failure nobody asks again, unless the provider wants a longer pause.
	retryListing = 30 * time.Second
)

// Listing is one page of a connection's repositories, and how sure it is.
type Listing struct {
	page.Page[Repository]
	Connection Connection
	// Age is how long ago the provider said so; zero where an operator lists the repositories.
	Age time.Duration
	// Failed is why the provider couldn't be asked since, empty when it could or needn't.
	Failed string
}

// ListingParams ask for a page of a connection's repositories.
type ListingParams struct {
	ConnectionID string
	Page         page.Request
	Name         string // part of the path, whatever the case
}

// ConnectionRepositories gives what a connection shows, by path. What is known is answered at once, and asked for again in the
// background when it is old. Where nothing is known yet the provider is asked first: 503 when it is away, 409 when it refuses.
func (s *Service) ConnectionRepositories(ctx context.Context, sub access.Subject, p ListingParams) (Listing, error) {
	if err := access.Require(sub, access.ViewGitIntegrations, ""); err != nil {
		return Listing{}, err
	}
	c, err := findConnection(ctx, s.db.Reader(), p.ConnectionID)
	if err != nil {
		return Listing{}, err
	}
	if p.Page.After == nil { // a list that is being paged through isn't changed under the reader's hand
		if c, err = s.look(ctx, c, true); err != nil {
			return Listing{}, err
		}
	}
	out := Listing{Connection: c, Failed: c.ListError}
	if !c.ListedAt.IsZero() {
		out.Age = max(0, s.db.Clock().Since(c.ListedAt))
	}
	var after any
	if p.Page.After != nil {
		after = p.Page.After[0]
	}
	rows, err := filter{Name: p.Name}.within(ctx, s.db.Reader(), c.ID, after, p.Page.Limit())
	if err != nil {
		return Listing{}, err
	}
	out.Page = page.Cut(rows, p.Page, func(r Repository) page.Position { return page.Position{r.folded} })
	return out, nil
}

// RefreshConnection asks a provider now, for an operator who can't wait.
func (s *Service) RefreshConnection(ctx context.Context, sub access.Subject, connectionID string) (Connection, error) {
	if err := access.Require(sub, access.ManageGitIntegrations, ""); err != nil {
		return Connection{}, err
	}
	c, err := findConnection(ctx, s.db.Reader(), connectionID)
	if err != nil {
		return c, err
	}
	if c.family().list == nil {
		return c, fault.New(fault.Conflict, "an operator lists this connection's repositories: there is nobody to ask")
	}
	if err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		return s.recordConnectionTx(ctx, tx, sub, verbRefresh, c, nil)
	}); err != nil {
		return c, err
	}
	return s.await(ctx, c)
}

// look sees to it that what is known of a connection gets fresh. With wait it waits for a first listing.
func (s *Service) look(ctx context.Context, c Connection, wait bool) (Connection, error) {
	now := s.db.Clock().Now()
	switch {
	case c.family().list == nil || now.Sub(c.ListedAt) < fresh:
		return c, nil
	case !c.ListedAt.IsZero() || !wait:
		if c.resting(now) {
			return c, nil
		}
		return c, s.later(ctx, c.ID)
	}
	return s.await(ctx, c)
}

// later lists a connection's repositories in the background, once however often it is asked for.
func (s *Service) later(ctx context.Context, connectionID string) error {
	waiting, err := db.One(ctx, s.db.Reader(), db.Int, `SELECT COUNT(*) FROM jobs WHERE kind = $1 AND unique_key = $2`, JobList, connectionID)
	if err != nil || waiting > 0 {
		return err // a reader who looks again and again costs no write
	}
	return s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		return jobs.InsertTx(ctx, tx, s.db.Clock().Now(), jobs.Insert{Kind: JobList, Key: connectionID, Args: connectionID})
	})
}

// ListJob does a JobList. A failure is noted with the connection, and the provider asked again when somebody looks.
func (s *Service) ListJob(ctx context.Context, j jobs.Job) error {
	var connectionID string
	if err := j.Decode(&connectionID); err != nil {
		return err
	}
	c, err := findConnection(ctx, s.db.Reader(), connectionID)
	if fault.Is(err, fault.NotFound) {
		return nil // it was deleted meanwhile
	}
	if err != nil {
		return err
	}
	if c.resting(s.db.Clock().Now()) {
		return nil // somebody who looks later asks again
	}
	_, err = s.ask(ctx, c)
	if fault.Is(err, fault.Conflict) || fault.Is(err, fault.Unavailable) {
		return nil // noted with the connection
	}
	return err
}

// await lists a connection's repositories now, or waits for whoever is at it already. What takes too long goes on in the background.
func (s *Service) await(ctx context.Context, c Connection) (Connection, error) {
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		now, err := findConnection(within, s.db.Reader(), c.ID)
		if err == nil && now.ListedAt.After(c.ListedAt) {
			return now, nil
		}
		if err == nil {
			err = now.paused(s.db.Clock().Now())
		}
		var did bool
		if err == nil {
			did, err = s.ask(within, now)
		}
		switch {
		case within.Err() != nil:
			if err := s.later(context.WithoutCancel(ctx), c.ID); err != nil {
				return c, err
			}
			return c, &fault.Error{
				Kind: fault.Unavailable, Message: "the provider's repositories are still being listed; ask again", RetryAfter: 5 * time.Second,
			}
		case err != nil:
			return c, err
		case did:
			return findConnection(ctx, s.db.Reader(), c.ID)
		}
		clock.Sleep(within, 200*time.Millisecond)
	}
}

// resting reports whether the provider failed a moment ago, after which nobody asks it for a while.
func (c Connection) resting(now time.Time) bool {
	return c.ListError != "" && now.Before(c.listingUntil)
}

// paused gives the failure of a provider that rests.
func (c Connection) paused(now time.Time) error {
	if !c.resting(now) {
		return nil
	}
	if c.refused {
		return fault.New(fault.Conflict, "%s", c.ListError)
	}
	return &fault.Error{Kind: fault.Unavailable, Message: c.ListError, RetryAfter: c.listingUntil.Sub(now)}
}

// ask lists a connection's repositories, unless somebody else is at it: then did is false.
func (s *Service) ask(ctx context.Context, c Connection) (did bool, err error) {
	list := c.family().list
	if list == nil {
		return true, nil
	}
	began := s.db.Clock().Now()
	var mine bool
	err = s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		mine, err = claimListing(ctx, tx, c.ID, began.UnixMilli(), began.Add(ListTime+time.Minute).UnixMilli())
		return err
	})
	if err != nil || !mine {
		return false, err
	}
	err = s.askOwn(ctx, c, list, began.UnixMilli())
	gaveUp := ctx.Err() != nil
	// Whoever asked may be gone, the next one must not wait for the lease.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	ended := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		now := s.db.Clock().Now()
		switch {
		case err == nil:
			return endListing(ctx, tx, c.ID, began.UnixMilli(), now.UnixMilli())
		case gaveUp:
			return dropListing(ctx, tx, c.ID)
		}
		f := fault.As(err)
		pause := max(f.RetryAfter, retryListing)
		return failListing(ctx, tx, c.ID, f.Message, f.Kind == fault.Conflict, now.Add(pause).UnixMilli())
	})
	if err != nil {
		s.o.Logger.WarnContext(ctx, "a provider's repositories can't be listed", "git_connection_id", c.ID, "host", c.Host, "error", err)
		return true, err
	}
	return true, ended
}

func (s *Service) askOwn(ctx context.Context, c Connection, list lister, began int64) error {
	ctx, cancel := context.WithTimeout(ctx, ListTime)
	defer cancel()
	token, err := s.token(ctx, c)
	if err != nil {
		return err
	}
	a := &account{Connection: c, token: token, client: s.client, clock: s.db.Clock()}
	return list(ctx, a, func(rows []found) error {
		return s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
			return keepFound(ctx, tx, c, rows, began)
		})
	})
}

package forge

import (
	"context"
	"errors"
	"strings"

	"gantry/internal/platform/db"
	"gantry/internal/platform/page"
)

const connectionColumns = `git_connection_id, name, provider_type, host, base_url, username, known_hosts, sealed_token, built_in, created_at,
	updated_at, listed_at, listing_until, list_error, list_refused, quiet_until`

func scanConnection(s db.Scanner) (Connection, error) {
	var c Connection
	err := s.Scan(&c.ID, &c.Name, &c.Provider, &c.Host, &c.URL, &c.Username, &c.KnownHosts, &c.sealed, &c.BuiltIn, db.OrZero(&c.CreatedAt),
		db.OrZero(&c.UpdatedAt), db.OrZero(&c.ListedAt), db.OrZero(&c.listingUntil), db.OrEmpty(&c.ListError), &c.refused, db.OrZero(&c.quietUntil))
	c.HasToken = len(c.sealed) > 0
	return c, err
}

// findConnection gives a connection; errNoConnection when there is none.
func findConnection(ctx context.Context, q db.Querier, id string) (Connection, error) {
	c, err := db.One(ctx, q, scanConnection, `SELECT `+connectionColumns+` FROM git_connections WHERE git_connection_id = $1`, id)
	if errors.Is(err, db.ErrNone) {
		return c, errNoConnection
	}
	return c, err
}

// listConnections leaves the built-in connection out while nothing is in it.
func listConnections(ctx context.Context, q db.Querier, r page.Request) ([]Connection, error) {
	var w db.Where
	w.Add(`(built_in = 0 OR EXISTS (SELECT 1 FROM git_repositories r WHERE r.git_connection_id = git_connections.git_connection_id))`)
	if r.After != nil {
		w.Add("(created_at, git_connection_id) > (?, ?)", r.After...)
	}
	where := w.SQL()
	limit := w.Number("LIMIT ?", r.Limit())
	return db.All(ctx, q, scanConnection,
		`SELECT `+connectionColumns+` FROM git_connections`+where+` ORDER BY created_at, git_connection_id `+limit, w.Args()...)
}

func insertConnection(ctx context.Context, tx *db.Tx, c Connection) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO git_connections (git_connection_id, name, provider_type, host, base_url, username, known_hosts,
			sealed_token, built_in, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $9)`,
		c.ID, c.Name, string(c.Provider), c.Host, c.URL, c.Username, c.KnownHosts, c.sealed, c.CreatedAt.UnixMilli())
	return err
}

// updateConnection also forgets how the last listing failed, and that the provider wanted to be left alone: another token may be welcome.
func updateConnection(ctx context.Context, tx *db.Tx, c Connection) error {
	_, err := db.Exec(ctx, tx, `UPDATE git_connections SET name = $1, username = $2, known_hosts = $3, sealed_token = $4, updated_at = $5,
			list_error = NULL, listing_until = NULL, quiet_until = NULL WHERE git_connection_id = $6`,
		c.Name, c.Username, c.KnownHosts, c.sealed, c.UpdatedAt.UnixMilli(), c.ID)
	return err
}

// lockConnection takes the row, so that two changes of different fields don't undo one another.
func lockConnection(ctx context.Context, tx *db.Tx, id string) (Connection, error) {
	if _, err := db.Exec(ctx, tx, `UPDATE git_connections SET updated_at = updated_at WHERE git_connection_id = $1`, id); err != nil {
		return Connection{}, err
	}
	return findConnection(ctx, tx, id)
}

// removeConnection takes a connection with its repositories and permissions, and gives how many permissions went.
func removeConnection(ctx context.Context, tx *db.Tx, id string) (int64, error) {
	if _, err := db.Exec(ctx, tx, `DELETE FROM git_connections WHERE git_connection_id = $1`, id); err != nil {
		return 0, err
	}
	if _, err := db.Exec(ctx, tx, `DELETE FROM git_repositories WHERE git_connection_id = $1`, id); err != nil {
		return 0, err
	}
	return db.Exec(ctx, tx, `DELETE FROM git_permissions WHERE git_connection_id = $1`, id)
}

const repositoryColumns = `git_connection_id, folded, path, url, provider_repository_id, description, language, last_updated_at, created_at`

func scan(s db.Scanner) (Repository, error) {
	var r Repository
	err := s.Scan(&r.ConnectionID, &r.folded, &r.Path, &r.URL, &r.ProviderID, db.OrEmpty(&r.Description), db.OrEmpty(&r.Language), db.OrZero(&r.UpdatedAt),
		db.OrZero(&r.CreatedAt))
	r.Name = r.Path
	return r, err
}

// insert adds a repository of an operator's list.
func insert(ctx context.Context, tx *db.Tx, r Repository) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO git_repositories (git_connection_id, folded, path, search, url, provider_repository_id, seen_at, created_at)
		VALUES ($1, $2, $2, $3, $4, $2, $5, $5)`, r.ConnectionID, r.Path, strings.ToLower(r.Path), r.URL, r.CreatedAt.UnixMilli())
	return err
}

func remove(ctx context.Context, tx *db.Tx, connectionID, name string) (int64, error) {
	return db.Exec(ctx, tx, `DELETE FROM git_repositories WHERE git_connection_id = $1 AND folded = $2`, connectionID, name)
}

// keepFound writes a page of a provider's answer, as seen at a time.
func keepFound(ctx context.Context, tx *db.Tx, c Connection, rows []found, at int64) error {
	base, clone := c.base(), c.family().clone
	for _, r := range rows {
		if r.Path == "" || len(r.Path) > maxPath {
			continue
		}
		_, err := db.Exec(ctx, tx, `INSERT INTO git_repositories (git_connection_id, folded, path, search, url, provider_repository_id,
				description, language, last_updated_at, seen_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
			ON CONFLICT (git_connection_id, folded) DO UPDATE SET path = excluded.path, search = excluded.search, url = excluded.url,
				provider_repository_id = excluded.provider_repository_id, description = excluded.description, language = excluded.language,
				last_updated_at = excluded.last_updated_at, seen_at = excluded.seen_at`,
			c.ID, c.Provider.fold(r.Path), r.Path, strings.ToLower(r.Path), clone(base, r.Path), r.ID, db.Null(storable(r.Description)),
			db.Null(storable(r.Language)), db.NullMillis(r.UpdatedAt), at)
		if err != nil {
			return err
		}
	}
	return nil
}

// storable takes from a provider's text what an engine can't keep, and what is beyond any sense.
func storable(s string) string {
	const most = 4 << 10
	s = strings.ReplaceAll(s, "\x00", "")
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "")
}

// claimListing lets one caller of all replicas ask a provider; false means that another does.
func claimListing(ctx context.Context, tx *db.Tx, id string, now, until int64) (bool, error) {
	n, err := db.Exec(ctx, tx, `UPDATE git_connections SET listing_until = $1 WHERE git_connection_id = $2
		AND (listing_until IS NULL OR listing_until <= $3)`, until, id, now)
	return n == 1, err
}

// endListing notes a complete listing. What it didn't see is no more.
func endListing(ctx context.Context, tx *db.Tx, id string, began, now int64) error {
	if _, err := db.Exec(ctx, tx, `UPDATE git_connections SET listing_until = NULL, list_error = NULL, listed_at = $1 WHERE git_connection_id = $2`,
		now, id); err != nil {
		return err
	}
	_, err := db.Exec(ctx, tx, `DELETE FROM git_repositories WHERE git_connection_id = $1 AND seen_at < $2`, id, began)
	return err
}

// failListing notes why a listing failed, and until when nobody tries again.
func failListing(ctx context.Context, tx *db.Tx, id, why string, refused bool, until int64) error {
	_, err := db.Exec(ctx, tx, `UPDATE git_connections SET listing_until = $1, list_error = $2, list_refused = $3 WHERE git_connection_id = $4`,
		until, why, db.Bool(refused), id)
	return err
}

// dropListing ends a listing that was given up.
func dropListing(ctx context.Context, tx *db.Tx, id string) error {
	_, err := db.Exec(ctx, tx, `UPDATE git_connections SET listing_until = NULL WHERE git_connection_id = $1`, id)
	return err
}

// quieten notes until when a provider isn't asked about pull requests.
func quieten(ctx context.Context, tx *db.Tx, id string, until int64) error {
	_, err := db.Exec(ctx, tx, `UPDATE git_connections SET quiet_until = $1 WHERE git_connection_id = $2 AND (quiet_until IS NULL OR quiet_until < $1)`,
		until, id)
	return err
}

// filter narrows a list of one connection's repositories. OrgID leaves what its permissions cover.
type filter struct {
	OrgID         string
	Name          string
	Only, Exclude []string // paths in lower case
}

// within reads a connection's repositories in the order of their folded paths, after one of them.
func (f filter) within(ctx context.Context, q db.Querier, connectionID string, after any, limit int) ([]Repository, error) {
	query, args := f.query(connectionID, after, limit)
	return db.All(ctx, q, scan, query, args...)
}

var likeEscape = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

func (f filter) query(connectionID string, after any, limit int) (string, []any) {
	var w db.Where
	w.Add("git_connection_id = ?", connectionID)
	if after != nil {
		w.Add("folded > ?", after)
	}
	if f.Name != "" {
		w.Add(`search LIKE ? ESCAPE '\'`, "%"+likeEscape.Replace(strings.ToLower(f.Name))+"%")
	}
	w.In("search", f.Only)
	if len(f.Exclude) > 0 {
		args := make([]any, len(f.Exclude))
		for i, v := range f.Exclude {
			args[i] = v
		}
		w.Add("search NOT IN (?"+strings.Repeat(", ?", len(args)-1)+")", args...)
	}
	if f.OrgID != "" && connectionID != Listed {
		w.Add(`EXISTS (SELECT 1 FROM git_permissions p WHERE p.org_id = ? AND p.git_connection_id = git_repositories.git_connection_id
			AND ((p.scope = 'repo' AND p.folded = git_repositories.folded)
			  OR (p.scope <> 'repo' AND p.folded = SUBSTR(git_repositories.folded, 1, LENGTH(p.folded)))))`, f.OrgID)
	}
	where := w.SQL()
	last := w.Number("LIMIT ?", limit)
	return `SELECT ` + repositoryColumns + ` FROM git_repositories` + where + ` ORDER BY git_connection_id, folded ` + last, w.Args()
}

// findIn gives those of a connection's folded paths that are known.
func findIn(ctx context.Context, q db.Querier, connectionID string, folded []string) (map[string]Repository, error) {
	out := make(map[string]Repository, len(folded))
	if len(folded) == 0 {
		return out, nil
	}
	var w db.Where
	w.Add("git_connection_id = ?", connectionID)
	w.In("folded", folded)
	rows, err := db.All(ctx, q, scan, `SELECT `+repositoryColumns+` FROM git_repositories`+w.SQL(), w.Args()...)
	for _, r := range rows {
		out[r.folded] = r
	}
	return out, err
}

package member

import (
	"context"
	"database/sql"
	"time"

	"gantry/internal/access"
	"gantry/internal/platform/db"
)

// change is a row of access_changes.
type change struct {
	id, kind, subjectID string
	at                  int64
}

func insertChange(ctx context.Context, tx *db.Tx, c change) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO access_changes (change_id, kind, subject_id, created_at) VALUES ($1, $2, $3, $4)`,
		c.id, c.kind, c.subjectID, c.at)
	return err
}

func readChanges(ctx context.Context, q db.Querier, since int64) ([]change, error) {
	return db.All(ctx, q, func(s db.Scanner) (change, error) {
		var c change
		return c, s.Scan(&c.id, &c.kind, &c.subjectID, &c.at)
	}, `SELECT change_id, kind, subject_id, created_at FROM access_changes WHERE created_at >= $1 ORDER BY created_at, change_id`, since)
}

func deleteChanges(ctx context.Context, tx *db.Tx, before int64) error {
	_, err := db.Exec(ctx, tx, `DELETE FROM access_changes WHERE created_at < $1`, before)
	return err
}

func updateUsed(ctx context.Context, tx *db.Tx, u keyUse, at int64) error {
	table, column := "api_keys", "api_key_id"
	if u.worker {
		table, column = "worker_keys", "worker_key_id"
	}
	_, err := db.Exec(ctx, tx, `UPDATE `+table+` SET last_used_at = $1
		WHERE `+column+` = $2 AND (last_used_at IS NULL OR last_used_at < $1)`, at, u.keyID)
	return err
}

// credential is one row of readCredential: the key and its principal, repeated for each role.
type credential struct {
	keyID, keyName, principal string
	keyForm                   access.KeyForm
	keyOrg                    sql.NullString
	keyExpires, suExpires     time.Time
	keyRevoked, used          sql.NullInt64
	suName, suOrg             sql.NullString
	suDeleted                 sql.NullInt64
	personName, personEmail   sql.NullString
	personDeleted             sql.NullInt64
	roleOrg, permissions      sql.NullString
}

// credentialQuery reads a key with its principal, a row for each direct role and for each that comes through a group.
const credentialQuery = `SELECT k.api_key_id, k.name, k.principal_id, k.expires_at, k.revoked_at, k.last_used_at, s.name, s.org_id, s.expires_at,
		s.deleted_at, u.name, u.email, u.deleted_at, a.org_id, r.permissions, k.form, k.org_id
	FROM api_keys k
	LEFT JOIN service_users s ON s.service_user_id = k.principal_id
	LEFT JOIN users u ON u.user_id = k.principal_id
	LEFT JOIN role_assignments a ON a.principal_id = k.principal_id
	LEFT JOIN roles r ON r.role_id = a.role_id
	WHERE k.hash = $1
	UNION ALL
	SELECT k.api_key_id, k.name, k.principal_id, k.expires_at, k.revoked_at, k.last_used_at, NULL, NULL, NULL,
		NULL, u.name, u.email, u.deleted_at, g.org_id, r.permissions, k.form, k.org_id
	FROM api_keys k
	JOIN users u ON u.user_id = k.principal_id
	JOIN idp_group_members m ON m.user_id = u.user_id
	JOIN idp_group_roles g ON g.idp_group_name = m.idp_group_name
	JOIN roles r ON r.role_id = g.role_id
	WHERE k.hash = $1`

// readCredential reads a cog_ key with its principal and roles, direct and through groups, in one statement, so that they belong
// together. It gives the time of the last use in Unix milliseconds. db.ErrNone stands for unknown, revoked and deleted.
func readCredential(ctx context.Context, q db.Querier, hash []byte) (access.Subject, int64, error) {
	rows, err := db.All(ctx, q, func(s db.Scanner) (credential, error) {
		var c credential
		return c, s.Scan(&c.keyID, &c.keyName, &c.principal, db.OrZero(&c.keyExpires), &c.keyRevoked, &c.used, &c.suName, &c.suOrg,
			db.OrZero(&c.suExpires), &c.suDeleted, &c.personName, &c.personEmail, &c.personDeleted, &c.roleOrg, &c.permissions,
			&c.keyForm, &c.keyOrg)
	}, credentialQuery, hash)
	if err != nil {
		return access.Subject{}, 0, err
	}
	if len(rows) == 0 || !rows[0].alive() {
		return access.Subject{}, 0, db.ErrNone
	}
	c := rows[0]
	sub := access.Subject{
		ID: c.principal, KeyID: c.keyID, KeyName: c.keyName, KeyForm: c.keyForm, KeyOrg: c.keyOrg.String,
		Expires: earlier(c.keyExpires, c.suExpires),
	}
	if c.suName.Valid {
		sub.Kind, sub.Name, sub.OrgID = access.ServiceUser, c.suName.String, c.suOrg.String
	} else {
		sub.Kind, sub.Name, sub.Email = access.Person, c.personName.String, c.personEmail.String
	}
	grants := make([]access.Grant, 0, len(rows))
	for _, r := range rows {
		if !r.permissions.Valid {
			continue
		}
		set, err := parsePermissions(r.permissions.String)
		if err != nil {
			return access.Subject{}, 0, err
		}
		grants = append(grants, access.Grant{OrgID: r.roleOrg.String, Permissions: set})
	}
	return sub.WithGrants(grants...), c.used.Int64, nil
}

func (c credential) alive() bool {
	if c.keyRevoked.Valid {
		return false
	}
	return (c.suName.Valid && !c.suDeleted.Valid) || (c.personName.Valid && !c.personDeleted.Valid)
}

// earlier gives the earlier of two times of which a zero one means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

func readWorkerCredential(ctx context.Context, q db.Querier, hash []byte) (access.Subject, int64, error) {
	k, err := db.One(ctx, q, scanWorkerKey, `SELECT `+workerKeyColumns+` FROM worker_keys WHERE hash = $1 AND revoked_at IS NULL`, hash)
	if err != nil {
		return access.Subject{}, 0, err
	}
	var used int64
	if !k.LastUsedAt.IsZero() {
		used = k.LastUsedAt.UnixMilli()
	}
	return access.Subject{
		Kind: access.Worker, ID: k.ID, Name: k.Name, KeyID: k.ID, KeyName: k.Name,
		Outposts: k.Outposts, WorkerOrgs: k.Orgs, IPRanges: k.IPRanges, Expires: k.ExpiresAt,
	}, used, nil
}

// personGrants reads the roles that a person holds, direct ones and those of their groups.
const personGrants = `SELECT a.org_id, r.permissions FROM role_assignments a JOIN roles r ON r.role_id = a.role_id WHERE a.principal_id = $1
	UNION ALL
	SELECT g.org_id, r.permissions FROM idp_group_members m JOIN idp_group_roles g ON g.idp_group_name = m.idp_group_name
		JOIN roles r ON r.role_id = g.role_id WHERE m.user_id = $1`

func readPerson(ctx context.Context, q db.Querier, userID string) (access.Subject, error) {
	sub, err := db.One(ctx, q, func(s db.Scanner) (access.Subject, error) {
		sub := access.Subject{Kind: access.Person, ID: userID}
		return sub, s.Scan(&sub.Name, &sub.Email)
	}, `SELECT name, email FROM users WHERE user_id = $1 AND deleted_at IS NULL`, userID)
	if err != nil {
		return sub, err
	}
	grants, err := db.All(ctx, q, func(s db.Scanner) (access.Grant, error) {
		var g access.Grant
		var perms string
		if err := s.Scan(&g.OrgID, &perms); err != nil {
			return g, err
		}
		var err error
		g.Permissions, err = parsePermissions(perms)
		return g, err
	}, personGrants, userID)
	return sub.WithGrants(grants...), err
}

package member

import (
	"context"
	"errors"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/id"
	"gantry/internal/platform/secret"
)

// Admin is an enterprise admin's fresh key. OrgID is the first organization, empty when there is none any more.
type Admin struct {
	Token         secret.String
	ServiceUserID string
	OrgID         string
}

// BootstrapOptions of Bootstrap.
type BootstrapOptions struct {
	OrgName string // default "Default"
	// MaxSessionACULimit is the first organization's limit; nil is none.
	MaxSessionACULimit *int64
}

const bootstrapRow = "bootstrap"

// Bootstrap brings the built-in roles up to date. On a database that was never used it also makes one organization and one
// enterprise-admin service user, and gives its key; else it gives nil. Of several processes that start at once, one makes them.
func (s *Service) Bootstrap(ctx context.Context, o BootstrapOptions) (*Admin, error) {
	var made *Admin
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		made, err = s.BootstrapTx(ctx, tx, o)
		return err
	})
	return made, err
}

// BootstrapTx is Bootstrap within a transaction.
func (s *Service) BootstrapTx(ctx context.Context, tx *db.Tx, o BootstrapOptions) (*Admin, error) {
	at := s.db.Clock().Millis()
	changed := false
	for _, r := range access.Builtin() {
		c, err := upsertRole(ctx, tx, r, at)
		if err != nil {
			return nil, err
		}
		changed = changed || c
	}
	if changed {
		if err := s.changedTx(ctx, tx, changeAll, ""); err != nil {
			return nil, err
		}
	}
	first, err := claimBootstrap(ctx, tx)
	if err != nil || !first {
		return nil, err
	}
	sub := access.As("first start")
	orgID, name := id.New(id.Org), o.OrgName
	if name == "" {
		name = "Default"
	}
	if err := insertOrg(ctx, tx, orgID, name, o.MaxSessionACULimit, at); err != nil {
		return nil, err
	}
	if err := audit.RecordTx(ctx, tx, sub, at, audit.Entry{Action: audit.CreateOrg, OrgID: orgID, Data: map[string]any{"name": name}}); err != nil {
		return nil, err
	}
	return s.newAdminTx(ctx, tx, sub, orgID, at)
}

// newAdminTx makes an enterprise-admin service user that never expires, with one key.
func (s *Service) newAdminTx(ctx context.Context, tx *db.Tx, sub access.Subject, orgID string, at int64) (*Admin, error) {
	role, err := readRole(ctx, tx, access.RoleEnterpriseAdmin)
	if err != nil {
		return nil, err
	}
	u := ServiceUser{ID: id.New(id.ServiceUser), Name: "admin", CreatedAt: db.Time(at), Roles: []RoleAssignment{{Role: role}}}
	key := freshKey(u.ID, sub.Name, u.CreatedAt)
	return &Admin{Token: key.Token, ServiceUserID: u.ID, OrgID: orgID}, s.insertTx(ctx, tx, sub, u, key)
}

// AdminKey makes a fresh enterprise-admin key for whoever may write the database, as `gantry admin key` does, also while a server
// runs. The oldest enterprise admin without an expiry gets it; when all are gone, a new one is made. On a database that was never
// used it is the key of Bootstrap.
func (s *Service) AdminKey(ctx context.Context, o BootstrapOptions) (*Admin, error) {
	var made *Admin
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		if made, err = s.BootstrapTx(ctx, tx, o); err != nil || made != nil {
			return err
		}
		made, err = s.adminKeyTx(ctx, tx)
		return err
	})
	return made, err
}

func (s *Service) adminKeyTx(ctx context.Context, tx *db.Tx) (*Admin, error) {
	at := s.db.Clock().Millis()
	sub := access.As("gantry admin key")
	orgID, err := firstOrg(ctx, tx)
	if err != nil && !errors.Is(err, db.ErrNone) {
		return nil, err
	}
	u, err := oldestAdmin(ctx, tx, access.RoleEnterpriseAdmin)
	if errors.Is(err, db.ErrNone) {
		return s.newAdminTx(ctx, tx, sub, orgID, at)
	}
	if err != nil {
		return nil, err
	}
	key := freshKey(u.ID, sub.Name, db.Time(at))
	if err := insertKey(ctx, tx, key); err != nil {
		return nil, err
	}
	err = recordKeyTx(ctx, tx, sub, at, audit.CreateServiceUserAPIKey, u, key.APIKey)
	return &Admin{Token: key.Token, ServiceUserID: u.ID, OrgID: orgID}, err
}

// claimBootstrap reports whether this transaction is the one that fills the database. A second one waits for the first's end.
func claimBootstrap(ctx context.Context, tx *db.Tx) (bool, error) {
	n, err := db.Exec(ctx, tx, `INSERT INTO settings (name, value) VALUES ($1, 'done') ON CONFLICT (name) DO NOTHING`, bootstrapRow)
	return n == 1, err
}

func firstOrg(ctx context.Context, q db.Querier) (string, error) {
	return db.One(ctx, q, db.Text, `SELECT org_id FROM organizations WHERE deleted_at IS NULL ORDER BY created_at, org_id LIMIT 1`)
}

func oldestAdmin(ctx context.Context, q db.Querier, roleID string) (ServiceUser, error) {
	return db.One(ctx, q, scanServiceUser, `SELECT s.service_user_id, s.name, s.org_id, s.created_at, s.expires_at, s.deleted_at
		FROM service_users s JOIN role_assignments a ON a.principal_id = s.service_user_id AND a.org_id = ''
		WHERE a.role_id = $1 AND s.org_id IS NULL AND s.deleted_at IS NULL AND s.expires_at IS NULL
		ORDER BY s.created_at, s.service_user_id LIMIT 1`, roleID)
}

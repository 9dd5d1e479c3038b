package forge

import (
	"context"
	"errors"
	"fmt"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
	"gantry/internal/platform/page"
)

// Permissions gives one page of an organization's permissions, oldest first.
func (s *Service) Permissions(ctx context.Context, sub access.Subject, orgID string, r page.Request) (page.Page[Permission], error) {
	if err := access.Require(sub, access.ViewGitIntegrations, ""); err != nil {
		return page.Page[Permission]{}, err
	}
	rows, err := listPermissions(ctx, s.db.Reader(), orgID, r)
	if err != nil {
		return page.Page[Permission]{}, err
	}
	return page.Cut(rows, r, func(p Permission) page.Position { return page.Position{p.CreatedAt.UnixMilli(), p.ID} }), nil
}

// AddPermissions grants an organization more: all of them or, when one is wrong, none. One that it has already is a conflict.
func (s *Service) AddPermissions(ctx context.Context, sub access.Subject, orgID string, params []PermissionParams) ([]Permission, error) {
	return s.grant(ctx, sub, orgID, params, func(ctx context.Context, tx *db.Tx, list []Permission, at int64) ([]Permission, error) {
		for i := range list {
			if err := s.addTx(ctx, tx, sub, orgID, &list[i], at, i); err != nil {
				return nil, err
			}
		}
		return list, nil
	})
}

// ReplacePermissions makes the list an organization's whole set. What is in both stays what it is, its id included.
func (s *Service) ReplacePermissions(ctx context.Context, sub access.Subject, orgID string, params []PermissionParams) ([]Permission, error) {
	return s.grant(ctx, sub, orgID, params, func(ctx context.Context, tx *db.Tx, list []Permission, at int64) ([]Permission, error) {
		had, err := allPermissions(ctx, tx, orgID)
		if err != nil {
			return nil, err
		}
		old := make(map[string]Permission, len(had))
		for _, p := range had {
			old[p.key()] = p
		}
		kept := map[string]bool{}
		for i, p := range list {
			was, ok := old[p.key()]
			kept[p.key()] = true
			if !ok {
				continue
			}
			list[i] = was
			if was.ReadOnly != p.ReadOnly {
				if err := s.changeTx(ctx, tx, sub, &list[i], p.ReadOnly, at); err != nil {
					return nil, err
				}
			}
		}
		for _, p := range had {
			if !kept[p.key()] {
				if err := s.dropTx(ctx, tx, sub, p, at); err != nil {
					return nil, err
				}
			}
		}
		for i := range list {
			if list[i].ID == "" {
				if err := s.addTx(ctx, tx, sub, orgID, &list[i], at, i); err != nil {
					return nil, err
				}
			}
		}
		return list, nil
	})
}

// key is what makes two permissions of an organization the same.
func (p Permission) key() string {
	return p.ConnectionID + "\x00" + string(p.Scope) + "\x00" + p.folded
}

// grant checks a bulk body and carries it out in one transaction.
func (s *Service) grant(ctx context.Context, sub access.Subject, orgID string, params []PermissionParams,
	do func(ctx context.Context, tx *db.Tx, list []Permission, at int64) ([]Permission, error),
) ([]Permission, error) {
	if err := access.Require(sub, access.ManageGitIntegrations, ""); err != nil {
		return nil, err
	}
	checked, err := checkPermissions(params)
	if err != nil {
		return nil, err
	}
	var out []Permission
	err = s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := lockPermissions(ctx, tx, orgID); err != nil {
			return err
		}
		list := append([]Permission{}, checked...)
		if err := foldTx(ctx, tx, list); err != nil {
			return err
		}
		var err error
		out, err = do(ctx, tx, list, s.db.Clock().Millis())
		return err
	})
	return out, err
}

// foldTx finds the connections that a body names, and readies its permissions for comparison.
func foldTx(ctx context.Context, tx *db.Tx, list []Permission) error {
	known, seen := map[string]Connection{}, map[string]bool{}
	for i := range list {
		p, at := &list[i], fmt.Sprintf("permissions.%d", i)
		c, ok := known[p.ConnectionID]
		if !ok {
			var err error
			if c, err = findConnection(ctx, tx, p.ConnectionID); fault.Is(err, fault.NotFound) {
				return fault.Wrap(err, fault.NotFound, "%s.git_connection_id: no such git connection", at)
			}
			if err != nil {
				return err
			}
			known[c.ID] = c
		}
		if c.BuiltIn {
			return fault.InvalidField(at+".git_connection_id", "every organization may use the operator's list: there is nothing to grant")
		}
		p.fold(c.Provider)
		if seen[p.key()] {
			return fault.InvalidField(at, "is in the list twice")
		}
		seen[p.key()] = true
	}
	return nil
}

func (s *Service) addTx(ctx context.Context, tx *db.Tx, sub access.Subject, orgID string, p *Permission, at int64, i int) error {
	p.ID, p.OrgID, p.CreatedAt = id.New(id.GitPerm), orgID, db.Time(at)
	fresh, err := insertPermission(ctx, tx, *p)
	if err != nil {
		return err
	}
	if !fresh {
		return fault.New(fault.Conflict, "permissions.%d: the organization has this permission already", i)
	}
	return recordPermissionTx(ctx, tx, sub, audit.CreateGitPermission, *p, at)
}

func (s *Service) changeTx(ctx context.Context, tx *db.Tx, sub access.Subject, p *Permission, readOnly bool, at int64) error {
	n, err := setReadOnly(ctx, tx, p.OrgID, p.ID, readOnly)
	if err != nil || n == 0 {
		return orNoPermission(err)
	}
	p.ReadOnly = readOnly
	return recordPermissionTx(ctx, tx, sub, audit.UpdateGitPermission, *p, at)
}

func (s *Service) dropTx(ctx context.Context, tx *db.Tx, sub access.Subject, p Permission, at int64) error {
	n, err := removePermission(ctx, tx, p.OrgID, p.ID)
	if err != nil || n == 0 {
		return orNoPermission(err)
	}
	return recordPermissionTx(ctx, tx, sub, audit.DeleteGitPermission, p, at)
}

func orNoPermission(err error) error {
	if err != nil && !errors.Is(err, db.ErrNone) {
		return err
	}
	return fault.New(fault.NotFound, "no such git permission")
}

func recordPermissionTx(ctx context.Context, tx *db.Tx, sub access.Subject, action audit.Action, p Permission, at int64) error {
	field := map[Scope]string{ScopeRepo: "repo_path", ScopeGroup: "group_prefix", ScopePrefix: "prefix_path"}[p.Scope]
	return audit.RecordTx(ctx, tx, sub, at, audit.Entry{Action: action, OrgID: p.OrgID, Data: map[string]any{
		"git_permission_id": p.ID, "git_connection_id": p.ConnectionID, field: p.Value, "read_only": p.ReadOnly,
	}})
}

// UpdatePermission changes read_only; nil keeps it (contract/behaviour.md §9.3).
func (s *Service) UpdatePermission(ctx context.Context, sub access.Subject, orgID, permissionID string, readOnly *bool) (Permission, error) {
	return s.onPermission(ctx, sub, orgID, permissionID, func(ctx context.Context, tx *db.Tx, p *Permission, at int64) error {
		if readOnly == nil || *readOnly == p.ReadOnly {
			return nil
		}
		return s.changeTx(ctx, tx, sub, p, *readOnly, at)
	})
}

// DeletePermission takes one permission back. Sessions that need it can't clone, fetch or push from then on.
func (s *Service) DeletePermission(ctx context.Context, sub access.Subject, orgID, permissionID string) (Permission, error) {
	return s.onPermission(ctx, sub, orgID, permissionID, func(ctx context.Context, tx *db.Tx, p *Permission, at int64) error {
		return s.dropTx(ctx, tx, sub, *p, at)
	})
}

func (s *Service) onPermission(ctx context.Context, sub access.Subject, orgID, permissionID string,
	do func(ctx context.Context, tx *db.Tx, p *Permission, at int64) error,
) (Permission, error) {
	if err := access.Require(sub, access.ManageGitIntegrations, ""); err != nil {
		return Permission{}, err
	}
	var p Permission
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		if err := lockPermissions(ctx, tx, orgID); err != nil {
			return err
		}
		if p, err = findPermission(ctx, tx, orgID, permissionID); err != nil {
			if errors.Is(err, db.ErrNone) {
				return orNoPermission(nil)
			}
			return err
		}
		return do(ctx, tx, &p, s.db.Clock().Millis())
	})
	return p, err
}

// ClearPermissions takes every permission back and gives what was taken.
func (s *Service) ClearPermissions(ctx context.Context, sub access.Subject, orgID string) ([]Permission, error) {
	if err := access.Require(sub, access.ManageGitIntegrations, ""); err != nil {
		return nil, err
	}
	var out []Permission
	err := s.db.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		if err := lockPermissions(ctx, tx, orgID); err != nil {
			return err
		}
		if out, err = allPermissions(ctx, tx, orgID); err != nil {
			return err
		}
		for _, p := range out {
			if err := s.dropTx(ctx, tx, sub, p, s.db.Clock().Millis()); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

package session

import (
	"context"
	"slices"

	"gantry/internal/fleet"
	"gantry/internal/forge"
	"gantry/internal/platform/fault"
	"gantry/internal/wire"
)

// resolve finds what a new session's repos mean to its organization.
func (v *Service) resolve(ctx context.Context, p *CreateParams, s *Session) error {
	var err error
	if p.repos, err = v.Forge.Resolve(ctx, p.OrgID, p.Repos); err != nil {
		return err
	}
	s.Repos = []string{}
	for _, r := range p.repos {
		s.Repos = append(s.Repos, r.Name)
	}
	return nil
}

// Credential gives what git needs for one operation on one repository of the session. The organization's permission is looked up each
// time, so that one taken back ends the next clone, fetch or push.
func (v *Service) Credential(ctx context.Context, r fleet.Row, c wire.CredentialRequest) (*wire.CredentialReply, error) {
	s, err := find(ctx, v.DB.Reader(), r.OrgID, r.SessionID)
	if err != nil {
		return nil, err
	}
	if c.Fence != r.Fence {
		return nil, fleet.ErrStale()
	}
	if !slices.Contains(s.Repos, c.Repository) {
		return nil, fault.New(fault.NotFound, "the session has no such repository")
	}
	return v.Forge.Credential(ctx, forge.Use{OrgID: s.OrgID, SessionID: s.ID, Name: c.Repository}, c.Operation)
}

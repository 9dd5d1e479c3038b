package session

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gantry/internal/access"
	"gantry/internal/audit"
	"gantry/internal/fleet"
	"gantry/internal/forge"
	"gantry/internal/platform/db"
	"gantry/internal/platform/fault"
	"gantry/internal/platform/id"
	"gantry/internal/platform/keeper"
	"gantry/internal/platform/secret"
	"gantry/internal/wire"
)

// CreateParams ask for a session (contract/behaviour.md §3.4). Null knowledge and secret ids mean all available, empty ones none.
type CreateParams struct {
	OrgID           string
	Prompt          string
	Title           string
	Tags            []string
	PlaybookID      string
	ChildPlaybookID string
	KnowledgeIDs    []string
	SecretIDs       []string
	Secrets         []SecretParam
	Repos           []string
	AttachmentURLs  []string
	Links           []string
	MaxACU          *int64
	Mode            string
	Platform        string
	Resumable       *bool
	BypassApproval  bool
	CreateAsUserID  string
	OutputSchema    json.RawMessage
	OutputRequired  *bool
	ParentID        string
	Origin          string
	ScheduleID      string // of the schedule that starts it; never from a request
	// SnapshotID and Unlisted are v1's: taken, noted in the session's first event, and of no effect (contract/legacy.md §2).
	SnapshotID string
	Unlisted   bool

	repos    []forge.Repository // what Repos mean
	reading  *reading           // what the prompt brings for the agent to read
	once     []byte             // the request's hash, where the same request is to get the same session
	unserved bool               // no agent of the organization's is for Mode, so the default one takes it
}

// SecretParam is one secret that lives in this session only.
type SecretParam struct {
	Key       string
	Value     secret.String
	Sensitive bool
}

// Create starts a session. The caller needs UseDevinSessions or ManageOrgSessions (contract/behaviour.md §2.2); acting for a member
// needs ImpersonateOrgSessions and a member who may use sessions (§3.5).
//
// Errors: 403 permission; 422 a field; 404 an unknown playbook, note, secret, member, parent or linked session; 400 an unknown
// platform; 409 when an ACU limit of the organization, its group, the enterprise or the user is used up.
func (v *Service) Create(ctx context.Context, who access.Subject, p CreateParams) (*Session, error) {
	d, err := v.Draft(ctx, who, p)
	if err != nil {
		return nil, err
	}
	var s *Session
	err = v.DB.Write(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		s, err = v.CreateTx(ctx, tx, d)
		return err
	})
	return s, err
}

// Draft is a session that may be started: checked and resolved, with everything that has to be done before the transaction.
type Draft struct {
	s      *Session
	who    access.Subject
	p      CreateParams
	files  []wire.Attachment
	sealed [][]byte
}

// Draft does the part of Create that comes before its transaction, with Create's errors.
func (v *Service) Draft(ctx context.Context, who access.Subject, p CreateParams) (*Draft, error) {
	err := access.RequireAny(who, p.OrgID, access.UseDevinSessions, access.ManageOrgSessions)
	if err == nil && p.CreateAsUserID != "" {
		err = access.Require(who, access.ImpersonateOrgSessions, p.OrgID) // 403 comes before 422
	}
	if err == nil {
		err = p.validate()
	}
	if err != nil {
		return nil, err
	}
	s, err := v.draft(ctx, who, &p)
	if err != nil {
		return nil, err
	}
	if p.reading, err = v.readFirst(ctx, &p, s); err != nil {
		return nil, err
	}
	files, err := v.collect(ctx, p.OrgID, "attachment_urls", v.attached(p.AttachmentURLs, p.Prompt))
	if err != nil {
		return nil, err
	}
	sealed, err := v.sealSecrets(ctx, s, p.Secrets)
	if err != nil {
		return nil, err
	}
	return &Draft{s: s, who: who, p: p, files: files, sealed: sealed}, nil
}

// CreateTx starts a drafted session in the caller's transaction. It leaves the draft as it is, because a transaction may run again.
func (v *Service) CreateTx(ctx context.Context, tx *db.Tx, d *Draft) (*Session, error) {
	fresh := *d.s
	if err := v.createTx(ctx, tx, d.who, &fresh, d.p, d.files, d.sealed); err != nil {
		return nil, err
	}
	return &fresh, nil
}

// draft makes the session's row from what can be known before the transaction.
func (v *Service) draft(ctx context.Context, who access.Subject, p *CreateParams) (*Session, error) {
	s := &Session{
		ID: id.Session(), OrgID: p.OrgID, Title: p.Title, State: State{Status: StatusNew}, Tags: tidyTags(p.Tags),
		PlaybookID: p.PlaybookID, ChildPlaybookID: p.ChildPlaybookID, Origin: p.Origin, Mode: p.Mode,
		Resumable: p.Resumable == nil || *p.Resumable, BypassApproval: p.BypassApproval, ChildIDs: []string{},
		OutputSchema: p.OutputSchema, OutputRequired: p.OutputRequired == nil || *p.OutputRequired, PullRequests: []PullRequest{},
		UserMessages: 1, ScheduleID: p.ScheduleID,
	}
	if s.Title == "" {
		s.Title = titleOf(p.Prompt)
	}
	if s.Origin == "" {
		s.Origin = "api"
	}
	if p.MaxACU != nil {
		s.MaxACU = *p.MaxACU
	}
	if err := v.actor(ctx, who, *p, s); err != nil {
		return nil, err
	}
	if err := v.resolve(ctx, p, s); err != nil {
		return nil, err
	}
	if err := v.relatives(ctx, who, *p, s); err != nil {
		return nil, err
	}
	agent, err := v.Agents.Choose(ctx, p.OrgID, p.Mode)
	if err != nil {
		return nil, err
	}
	s.Agent = agent.Name
	// The normal mode is what the default agent is for.
	p.unserved = p.Mode != "" && p.Mode != "normal" && !slices.Contains(agent.Modes, p.Mode)
	outpost, err := v.Fleet.OutpostFor(ctx, s.Platform)
	if err != nil {
		return nil, err
	}
	s.OutpostID = outpost
	return s, nil
}

// actor says whose session it is: the caller's, or a member's for whom the caller may act.
func (v *Service) actor(ctx context.Context, who access.Subject, p CreateParams, s *Session) error {
	switch who.Kind {
	case access.Person:
		s.UserID = who.ID
	case access.ServiceUser:
		s.ServiceUserID = who.ID
	case access.Nobody, access.SessionToken, access.Worker, access.System:
	}
	if p.CreateAsUserID == "" {
		return nil
	}
	if err := v.mayActFor(ctx, who, p.OrgID, "create_as_user_id", p.CreateAsUserID); err != nil {
		return err
	}
	s.UserID = p.CreateAsUserID
	return nil
}

// mayActFor checks the three conditions of impersonation: the caller's right, the member, and the member's own right
// (contract/behaviour.md §3.5). Somebody who is no member answers like somebody unknown; rights that count in every organization make
// nobody a member.
func (v *Service) mayActFor(ctx context.Context, who access.Subject, orgID, field, userID string) error {
	if err := access.Require(who, access.ImpersonateOrgSessions, orgID); err != nil {
		return err
	}
	member, err := v.People(ctx, userID)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if err != nil || !member.MemberOf(orgID) {
		return fault.New(fault.NotFound, "%s: no such member of this organization", field)
	}
	if err := access.Require(member, access.UseDevinSessions, orgID); err != nil {
		return fault.Wrap(err, fault.Forbidden, "%s: the member lacks the permission UseDevinSessions in this organization", field)
	}
	return nil
}

// relative finds a session that a new one is to belong to. Who may neither see nor manage the organization's sessions has their own
// only; another answers like a missing one, because a parent gives its children more than it was asked for: a playbook, a platform.
func (v *Service) relative(ctx context.Context, who access.Subject, orgID, sessionID string) (*Session, error) {
	s, err := find(ctx, v.DB.Reader(), orgID, sessionID)
	if err != nil || s.UserID == who.ID || s.ServiceUserID == who.ID {
		return s, err
	}
	if access.RequireAny(who, orgID, access.ViewOrgSessions, access.ManageOrgSessions) != nil {
		return nil, errUnknown()
	}
	return s, nil
}

// relatives resolves the parent and the linked sessions, which must be of the same organization and the caller's to know. A child inherits
// its parent's platform.
func (v *Service) relatives(ctx context.Context, who access.Subject, p CreateParams, s *Session) error {
	s.Links = []string{}
	for i, l := range p.Links {
		bare := id.BareSession(lastSegment(l))
		if _, err := v.relative(ctx, who, p.OrgID, bare); err != nil {
			return named(err, fmt.Sprintf("session_links.%d", i))
		}
		s.Links = append(s.Links, bare)
	}
	platform := strings.ToLower(p.Platform)
	if platform == "default" {
		platform = ""
	}
	if p.ParentID != "" {
		parent, err := v.relative(ctx, who, p.OrgID, id.BareSession(p.ParentID))
		if err != nil {
			return named(err, "devin_id")
		}
		s.ParentID = parent.ID
		if platform == "" || platform == "inherit" {
			platform = parent.Platform
		}
	}
	if platform == "inherit" {
		platform = ""
	}
	s.Platform = platform
	return nil
}

// named says which input named the session that isn't there.
func named(err error, field string) error {
	if fault.Is(err, fault.NotFound) {
		return fault.Wrap(err, fault.NotFound, "%s: no such session", field)
	}
	return err
}

// lastSegment takes a linked session's id out of its address.
func lastSegment(link string) string {
	link = strings.TrimRight(link, "/")
	return link[strings.LastIndexByte(link, '/')+1:]
}

func (v *Service) createTx(ctx context.Context, tx *db.Tx, who access.Subject, s *Session, p CreateParams, files []wire.Attachment,
	sealed [][]byte,
) error {
	now := v.now()
	s.CreatedAt, s.UpdatedAt = now, now
	if err := v.Fleet.KeepTx(ctx, tx, s.OutpostID); err != nil {
		return err
	}
	if err := v.budgetTx(ctx, tx, s, now); err != nil {
		return err
	}
	if err := v.fillTagsTx(ctx, tx, s); err != nil {
		return err
	}
	at := now.UnixMilli()
	evs := s.add(nil, at, EventCreated, createdData(s, p))
	evs, err := s.sayTx(ctx, tx, evs, at, UserMessage{
		Text: p.Prompt, UserID: s.UserID, ServiceUserID: s.ServiceUserID, Attachments: files, reading: p.reading,
	})
	if err != nil {
		return err
	}
	s.Size = v.Sizes.Of(0, s.UserMessages)
	if p.once != nil {
		if err := claimRequestTx(ctx, tx, who, s, p.once); err != nil {
			return err
		}
	}
	if err := insertTx(ctx, tx, s, choice{p.KnowledgeIDs, p.SecretIDs}); err != nil {
		return err
	}
	if err := v.Forge.BindTx(ctx, tx, s.ID, p.repos); err != nil {
		return err
	}
	if err := insertEventsTx(ctx, tx, evs); err != nil {
		return err
	}
	if err := insertSecretsTx(ctx, tx, s.ID, p.Secrets, sealed); err != nil {
		return err
	}
	if err := v.chooseSecretsTx(ctx, tx, s, p.SecretIDs); err != nil {
		return err
	}
	if s.ParentID != "" {
		if err := v.adoptTx(ctx, tx, s); err != nil {
			return err
		}
	}
	if err := attachTx(ctx, tx, s.ID, files); err != nil {
		return err
	}
	err = fleet.EnqueueTx(ctx, tx, fleet.Enqueue{
		SessionID: s.ID, OrgID: s.OrgID, OutpostID: s.OutpostID, Platform: s.Platform, Kind: wire.KindNew, At: now,
	})
	if err != nil {
		return err
	}
	v.notifyQueue(tx, s.OutpostID)
	v.notify(tx, s.ID)
	data := map[string]any{"session_id": s.ID}
	if p.CreateAsUserID != "" {
		data["create_as_user_id"], data["target_user_id"] = p.CreateAsUserID, p.CreateAsUserID
	}
	if err := audit.RecordTx(ctx, tx, who, at, audit.Entry{Action: audit.CreateSession, OrgID: s.OrgID, Data: data}); err != nil {
		return err
	}
	return s.countNewTx(ctx, tx)
}

// adoptTx notes a child on its parent.
func (v *Service) adoptTx(ctx context.Context, tx *db.Tx, s *Session) error {
	parent, err := lockTx(ctx, tx, s.ParentID)
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, tx, `UPDATE sessions SET child_session_ids = $1 WHERE session_id = $2`,
		text(append(parent.ChildIDs, s.ID)), s.ParentID)
	return err
}

func createdData(s *Session, p CreateParams) map[string]any {
	data := map[string]any{"title": s.Title, "agent": s.Agent, "repos": s.Repos, "platform": s.Platform, "devin_mode": s.Mode}
	var ignored []string
	if p.SnapshotID != "" {
		ignored = append(ignored, "snapshot_id "+p.SnapshotID)
	}
	if p.Unlisted {
		ignored = append(ignored, "unlisted")
	}
	if p.unserved {
		ignored = append(ignored, "devin_mode "+s.Mode+": no agent is set up for it")
	}
	if ignored != nil {
		data["ignored"] = ignored
	}
	return data
}

// sealSecrets encrypts before the transaction, because the organization's key may have to be fetched.
func (v *Service) sealSecrets(ctx context.Context, s *Session, secrets []SecretParam) ([][]byte, error) {
	if len(secrets) == 0 {
		return nil, nil
	}
	if err := v.Keeper.Prepare(ctx, s.OrgID); err != nil {
		return nil, err
	}
	out := make([][]byte, len(secrets))
	for i, p := range secrets {
		var err error
		if out[i], err = v.Keeper.Seal(ctx, s.OrgID, secretPlace(s.ID, int64(i)), []byte(p.Value.Reveal())); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func secretPlace(sessionID string, position int64) keeper.Place {
	return keeper.Place{Table: "session_secrets", Row: sessionID + "/" + strconv.FormatInt(position, 10), Column: "sealed"}
}

func insertSecretsTx(ctx context.Context, tx *db.Tx, sessionID string, secrets []SecretParam, sealed [][]byte) error {
	for i, p := range secrets {
		if _, err := db.Exec(ctx, tx, `INSERT INTO session_secrets (session_id, position, name, sealed, sensitive)
			VALUES ($1, $2, $3, $4, $5)`, sessionID, i, p.Key, sealed[i], db.Bool(p.Sensitive)); err != nil {
			return err
		}
	}
	return nil
}

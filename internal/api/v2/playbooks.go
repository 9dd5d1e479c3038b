package v2

import (
	"context"
	"net/http"

	"gantry/internal/access"
	"gantry/internal/api/older"
	"gantry/internal/kit"
	"gantry/internal/platform/page"
	"gantry/internal/playbook"
)

func init() { registrations = append(registrations, registerPlaybooks) }

// account stands for the enterprise: one deployment is one enterprise.
const account = "account-00000000000000000000000000000001"

// CreateEnterprisePlaybookRequest is a whole playbook. To rewrite one, a macro that is left out stays and null clears it.
type CreateEnterprisePlaybookRequest struct {
	Title string               `json:"title" minLength:"1" maxLength:"256"`
	Body  string               `json:"body" minLength:"1"`
	Macro kit.Optional[string] `json:"macro,omitempty"`
}

func (b CreateEnterprisePlaybookRequest) params(id string) playbook.Params {
	p := playbook.Params{PlaybookID: id, Title: b.Title, Body: b.Body}
	if b.Macro.Set {
		p.Macro = new(b.Macro.Or(""))
	}
	return p
}

// EnterprisePlaybookResponse is a playbook of the enterprise. Those who made and changed it are named when they are people.
type EnterprisePlaybookResponse struct {
	PlaybookID string  `json:"playbook_id"`
	AccountID  string  `json:"account_id"`
	Title      string  `json:"title"`
	Body       string  `json:"body"`
	Macro      *string `json:"macro"`
	Access     string  `json:"access" doc:"enterprise."`
	Status     string  `json:"status" doc:"published."`
	CreatedAt  *string `json:"created_at"`
	UpdatedAt  *string `json:"updated_at"`
	older.PlaybookAuthors
}

type playbooksOutput struct{ Body []EnterprisePlaybookResponse }

type playbookOutput struct{ Body EnterprisePlaybookResponse }

// PlaybookPath names a playbook.
type PlaybookPath struct {
	PlaybookID string `path:"playbook_id" maxLength:"256"`
}

func playbookOf(p playbook.Playbook, by older.PlaybookAuthors) EnterprisePlaybookResponse {
	return EnterprisePlaybookResponse{
		PlaybookID: p.ID, AccountID: account, Title: p.Title, Body: p.Body, Macro: kit.NullText(p.Macro), Access: playbook.AccessEnterprise,
		Status: "published", CreatedAt: older.NullTime(p.CreatedAt), UpdatedAt: older.NullTime(p.UpdatedAt), PlaybookAuthors: by,
	}
}

func (r Rooms) playbook(ctx context.Context, p playbook.Playbook, err error) (*playbookOutput, error) {
	if err != nil {
		return nil, err
	}
	one, err := older.Playbooks(ctx, r.Members, []playbook.Playbook{p}, playbookOf)
	if err != nil {
		return nil, err
	}
	return &playbookOutput{Body: one[0]}, nil
}

func registerPlaybooks(a *kit.API, rooms Rooms) {
	const tag, path, one, successor = "playbooks", prefix + "/playbooks", prefix + "/playbooks/{playbook_id}", " /v3/enterprise/playbooks"
	kit.Register(a, op("listPlaybooks", http.MethodGet, path, "List the enterprise's playbooks", tag, "GET"+successor),
		func(ctx context.Context, who access.Subject, _ *struct{}) (*playbooksOutput, error) {
			all, err := older.All(func(r page.Request) (page.Page[playbook.Playbook], error) {
				return rooms.Playbooks.List(ctx, who, "", r)
			})
			if err != nil {
				return nil, err
			}
			out, err := older.Playbooks(ctx, rooms.Members, all, playbookOf)
			return &playbooksOutput{Body: out}, err
		})
	type createInput struct {
		Body CreateEnterprisePlaybookRequest
	}
	create := op("createPlaybook", http.MethodPost, path, "Make a playbook of the enterprise", tag, "POST"+successor)
	create.Creates = true
	kit.Register(a, create, func(ctx context.Context, who access.Subject, in *createInput) (*playbookOutput, error) {
		p, err := rooms.Playbooks.Create(ctx, who, in.Body.params(""))
		return rooms.playbook(ctx, p, err)
	})
	kit.Register(a, op("getPlaybook", http.MethodGet, one, "Read a playbook of the enterprise", tag, "GET"+successor+"/{playbook_id}"),
		func(ctx context.Context, who access.Subject, in *PlaybookPath) (*playbookOutput, error) {
			p, err := rooms.Playbooks.Get(ctx, who, "", in.PlaybookID)
			return rooms.playbook(ctx, p, err)
		})
	type updateInput struct {
		PlaybookPath
		Body CreateEnterprisePlaybookRequest
	}
	kit.Register(a, op("updatePlaybook", http.MethodPut, one, "Rewrite a playbook of the enterprise", tag, "PUT"+successor+"/{playbook_id}"),
		func(ctx context.Context, who access.Subject, in *updateInput) (*successOutput, error) {
			_, err := rooms.Playbooks.Update(ctx, who, in.Body.params(in.PlaybookID))
			return success(err)
		})
	kit.Register(a, op("deletePlaybook", http.MethodDelete, one, "Delete a playbook of the enterprise", tag, "DELETE"+successor+"/{playbook_id}"),
		func(ctx context.Context, who access.Subject, in *PlaybookPath) (*successOutput, error) {
			_, err := rooms.Playbooks.Delete(ctx, who, "", in.PlaybookID)
			return success(err)
		})
}

package v3

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"gantry/internal/access"
	"gantry/internal/kit"
	"gantry/internal/platform/secret"
	"gantry/internal/secrets"
)

func init() { registrations = append(registrations, registerSecrets) }

// SecretResponse is a secret without its value. Times are Unix seconds. Secrets are made and deleted, never changed: updated_at and
// updated_by are null.
type SecretResponse struct {
	SecretID   string  `json:"secret_id"`
	Key        *string `json:"key"`
	Note       *string `json:"note"`
	SecretType string  `json:"secret_type" enum:"cookie,key-value,totp"`
	AccessType string  `json:"access_type" enum:"org,personal" doc:"Who may use it: org for every session of the organization."`
	Sensitive  bool    `json:"is_sensitive" doc:"Its value is masked in what sessions tell."`
	CreatedBy  string  `json:"created_by" doc:"The user or service user who made it."`
	CreatedAt  int64   `json:"created_at" doc:"Unix time in seconds (UTC)."`
	UpdatedAt  *int64  `json:"updated_at"`
	UpdatedBy  *string `json:"updated_by"`
}

// SecretCreateRequest makes a secret.
type SecretCreateRequest struct {
	Type      string               `json:"type" enum:"cookie,key-value,totp"`
	Key       string               `json:"key" minLength:"1" maxLength:"256" doc:"Unique in the organization. Sessions get it as an environment variable: other characters than letters, digits and _ become _."`
	Value     string               `json:"value" maxLength:"65536" writeOnly:"true" doc:"Never shown again. A cookie secret is base64 of a JSON array of cookies, a totp secret a base32 seed."`
	Note      kit.Optional[string] `json:"note,omitempty" maxLength:"4096"`
	Sensitive kit.Optional[bool]   `json:"is_sensitive,omitempty" doc:"True unless given: false shows the value in what sessions tell."`
}

func secretOf(s secrets.Secret) SecretResponse {
	return SecretResponse{
		SecretID: s.ID, Key: &s.Key, Note: kit.NullText(s.Note), SecretType: string(s.Type), AccessType: "org", Sensitive: s.Sensitive,
		CreatedBy: s.CreatedBy, CreatedAt: s.CreatedAt.Unix(),
	}
}

type secretOutput struct{ Body SecretResponse }

func secretAnswer(s secrets.Secret, err error) (*secretOutput, error) {
	if err != nil {
		return nil, err
	}
	return &secretOutput{Body: secretOf(s)}, nil
}

func secretOp(id, method, path, summary, description string) kit.Op {
	return kit.Op{
		Operation: huma.Operation{
			OperationID: id, Method: method, Path: "/v3/organizations/{org_id}/secrets" + path, Tags: []string{"secrets"},
			Summary: summary, Description: description, Parameters: []*huma.Param{orgParam},
		},
		Any: []access.Permission{access.ManageOrgSecrets},
	}
}

func registerSecrets(a *kit.API, rooms Rooms) {
	type listOutput struct{ Body kit.Page[SecretResponse] }
	kit.Register(a, secretOp("listSecrets", http.MethodGet, "", "List secret metadata", "Oldest first, without values."),
		func(ctx context.Context, s access.Subject, in *struct{ kit.PageInput }) (*listOutput, error) {
			r, err := kit.OpenPage(ctx, in.PageInput)
			if err != nil {
				return nil, err
			}
			p, err := rooms.Secrets.List(ctx, s, kit.Org(ctx), r)
			if err != nil {
				return nil, err
			}
			return &listOutput{Body: kit.ClosePage(ctx, p, secretOf)}, nil
		})

	create := secretOp("createSecret", http.MethodPost, "", "Create a secret",
		"Sessions that are created from now on get it as an environment variable. 409 when the key is taken.")
	create.Creates = true
	kit.Register(a, create, func(ctx context.Context, s access.Subject, in *struct{ Body SecretCreateRequest }) (*secretOutput, error) {
		return secretAnswer(rooms.Secrets.Create(ctx, s, secrets.CreateParams{
			OrgID: kit.Org(ctx), Type: secrets.Type(in.Body.Type), Key: in.Body.Key, Value: secret.New(in.Body.Value),
			Note: in.Body.Note.Value, Sensitive: in.Body.Sensitive.Or(true),
		}))
	})

	kit.Register(a, secretOp("deleteSecret", http.MethodDelete, "/{secret_id}", "Delete a secret",
		"Its value is gone, and no session is given it from then on. Answers with what it was."),
		func(ctx context.Context, s access.Subject, in *struct {
			SecretID string `path:"secret_id" maxLength:"256"`
		},
		) (*secretOutput, error) {
			return secretAnswer(rooms.Secrets.Delete(ctx, s, kit.Org(ctx), in.SecretID))
		})
}

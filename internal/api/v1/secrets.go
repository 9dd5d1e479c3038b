package v1

import (
	"context"
	"net/http"

	"gantry/internal/access"
	"gantry/internal/api/older"
	"gantry/internal/kit"
	"gantry/internal/platform/page"
	"gantry/internal/platform/secret"
	"gantry/internal/secrets"
)

func init() { registrations = append(registrations, registerSecrets) }

// SecretMetadata is a secret without its value.
type SecretMetadata struct {
	ID        string  `json:"id"`
	Type      string  `json:"type" enum:"cookie,key-value,dictionary,totp"`
	Key       *string `json:"key"`
	CreatedAt *string `json:"created_at"`
}

// CreateSecretParams make a secret. The oldest type, dictionary, is kept as key-value: its value is a text all the same.
type CreateSecretParams struct {
	Type      string               `json:"type" enum:"cookie,key-value,dictionary,totp"`
	Key       string               `json:"key"`
	Value     string               `json:"value" writeOnly:"true"`
	Sensitive bool                 `json:"sensitive"`
	Note      kit.Optional[string] `json:"note,omitempty"`
}

// CreateSecretResponse names the new secret.
type CreateSecretResponse struct {
	ID string `json:"id"`
}

// DeleteSecretResponse says that it was done.
type DeleteSecretResponse struct {
	Message string `json:"message"`
}

type secretsOutput struct{ Body []SecretMetadata }

type createSecretInput struct{ Body CreateSecretParams }

type createSecretOutput struct{ Body CreateSecretResponse }

type deleteSecretOutput struct{ Body DeleteSecretResponse }

type secretPath struct {
	SecretID string `path:"secret_id" maxLength:"256"`
}

const secretsSuccessor = "/v3/organizations/{org_id}/secrets"

func registerSecrets(a *kit.API, rooms Rooms) {
	kit.Register(a, op("listSecrets", http.MethodGet, "/secrets", "List secrets", "GET "+secretsSuccessor, access.ManageOrgSecrets),
		func(ctx context.Context, who access.Subject, _ *struct{}) (*secretsOutput, error) {
			all, err := older.All(func(r page.Request) (page.Page[secrets.Secret], error) {
				return rooms.Secrets.List(ctx, who, kit.Org(ctx), r)
			})
			if err != nil {
				return nil, err
			}
			out := &secretsOutput{Body: make([]SecretMetadata, len(all))}
			for i, s := range all {
				out.Body[i] = SecretMetadata{ID: s.ID, Type: string(s.Type), Key: kit.NullText(s.Key), CreatedAt: older.NullTime(s.CreatedAt)}
			}
			return out, nil
		})

	create := op("createSecret", http.MethodPost, "/secrets", "Keep a secret", "POST "+secretsSuccessor, access.ManageOrgSecrets)
	create.Creates = true
	kit.Register(a, create, func(ctx context.Context, who access.Subject, in *createSecretInput) (*createSecretOutput, error) {
		typ := secrets.Type(in.Body.Type)
		if typ == "dictionary" {
			typ = secrets.KeyValue
		}
		s, err := rooms.Secrets.Create(ctx, who, secrets.CreateParams{
			OrgID: kit.Org(ctx), Type: typ, Key: in.Body.Key, Value: secret.New(in.Body.Value), Note: in.Body.Note.Value, Sensitive: in.Body.Sensitive,
		})
		if err != nil {
			return nil, err
		}
		return &createSecretOutput{Body: CreateSecretResponse{ID: s.ID}}, nil
	})

	kit.Register(a, op("deleteSecret", http.MethodDelete, "/secrets/{secret_id}", "Delete a secret", "DELETE "+secretsSuccessor+"/{secret_id}", access.ManageOrgSecrets),
		func(ctx context.Context, who access.Subject, in *secretPath) (*deleteSecretOutput, error) {
			if _, err := rooms.Secrets.Delete(ctx, who, kit.Org(ctx), in.SecretID); err != nil {
				return nil, err
			}
			return &deleteSecretOutput{Body: DeleteSecretResponse{Message: "Secret deleted successfully"}}, nil
		})
}

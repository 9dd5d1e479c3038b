package keeper

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"path"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"golang.org/x/crypto/nacl/secretbox"

	"gantry/internal/platform/awsconf"
)

// wrapper encrypts keys: with a local key, or by asking a KMS.
type wrapper interface {
	Encrypt(ctx context.Context, plain []byte) ([]byte, error)
	Decrypt(ctx context.Context, wrapped []byte) ([]byte, error)
}

// localKey wraps with NaCl's secretbox; what it wrapped begins with the nonce.
type localKey [keyLen]byte

const nonceLen = 24

func (k *localKey) Encrypt(_ context.Context, plain []byte) ([]byte, error) {
	var nonce [nonceLen]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return nil, err
	}
	return secretbox.Seal(nonce[:], plain, &nonce, (*[keyLen]byte)(k)), nil
}

func (k *localKey) Decrypt(_ context.Context, wrapped []byte) ([]byte, error) {
	if len(wrapped) < nonceLen {
		return nil, errors.New("it is too short to have been wrapped")
	}
	plain, ok := secretbox.Open(nil, wrapped[nonceLen:], (*[nonceLen]byte)(wrapped), (*[keyLen]byte)(k))
	if !ok {
		return nil, errors.New("it was wrapped with another key, or changed")
	}
	return plain, nil
}

// kmsKey is a key that never leaves AWS KMS.
type kmsKey struct {
	client *kms.Client
	id     string
	// context is the encryption context that the KMS logs and asks for again.
	context map[string]string
}

// openKMSKey opens awskms:///KEY: an id, an ARN or alias/NAME. Besides awsconf.Load's parameters, context_NAME=VALUE gives a pair of
// the encryption context.
func openKMSKey(ctx context.Context, u *url.URL) (*kmsKey, error) {
	k := &kmsKey{id: strings.TrimPrefix(path.Join(u.Host, u.Path), "/"), context: map[string]string{}}
	q := u.Query()
	for name := range q {
		if pair, ok := strings.CutPrefix(name, "context_"); ok {
			k.context[pair] = q.Get(name)
			q.Del(name)
		}
	}
	if k.id == "" {
		return nil, errors.New("it names no key")
	}
	cfg, err := awsconf.Load(ctx, q)
	if err != nil {
		return nil, err
	}
	k.client = kms.NewFromConfig(cfg)
	return k, nil
}

func (k *kmsKey) Encrypt(ctx context.Context, plain []byte) ([]byte, error) {
	out, err := k.client.Encrypt(ctx, &kms.EncryptInput{KeyId: &k.id, Plaintext: plain, EncryptionContext: k.context})
	if err != nil {
		return nil, err
	}
	return out.CiphertextBlob, nil
}

func (k *kmsKey) Decrypt(ctx context.Context, wrapped []byte) ([]byte, error) {
	out, err := k.client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: wrapped, EncryptionContext: k.context})
	if err != nil {
		return nil, err
	}
	return out.Plaintext, nil
}

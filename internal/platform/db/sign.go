package db

import (
	"crypto/hmac"
	"crypto/sha256"
)

// SignWith gives the key with which rows are signed that nobody else may make: the keeper's, which whoever writes the database doesn't
// hold. It is called once, before the first Write.
func (d *DB) SignWith(key []byte) { d.signing = key }

// Sign gives the HMAC of a text that names its own purpose, nil without a key.
func (d *DB) Sign(text []byte) []byte { return sign(d.signing, text) }

// Sign is the database's.
func (t *Tx) Sign(text []byte) []byte { return sign(t.signing, text) }

func sign(key, text []byte) []byte {
	if key == nil {
		return nil
	}
	m := hmac.New(sha256.New, key)
	m.Write(text)
	return m.Sum(nil)
}

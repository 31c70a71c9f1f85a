package config_test

import (
	"testing"

	"edgegateway/config"
)

func TestHashIsWhatSha256sumSays(t *testing.T) {
	c, err := config.Decode("f", []byte("id = \"a\"\n"), func(string) string { return "" }, "host")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Hash(), "9fbbd8e2833c063d6d25abde72b027c41440286e6e4e805fe19dc54a018c5ffd"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := config.Default(func(string) string { return "" }, "host").Hash(); got != "" {
		t.Errorf("got %s without a file, want nothing", got)
	}
}

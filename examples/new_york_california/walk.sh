#!/bin/sh
# The New York / California walk, against a running `sluice up`:  sh examples/new_york_california/walk.sh
set -eu
cd "$(dirname "$0")"
eval "$(sluice env)"

shown() {
    printf '\n$'
    for word; do case $word in *" "*) printf ' "%s"' "$word" ;; *) printf ' %s' "$word" ;; esac; done
    printf '\n'
}
step() { shown "$@"; "$@"; }
refused() { shown "$@"; if "$@" 2>&1; then echo "this should have been refused" >&2; exit 1; fi; }

step python train.py

# Audiences: who requests come from.
step sluice audience check -f audiences.yaml
step sluice audience apply -f audiences.yaml
step sluice apply -f plan.yaml

# Variations: the first build serves everybody, the others their audience.
step sluice deploy fraud --build 1
step sluice deploy fraud --build 2 --variation ny --audience new-york
step sluice deploy fraud --build 3 --variation ca --audience california
step sluice variation list

# Who gets what, and why.
step sluice audience test --model fraud --metadata "state=New York" --metadata age=30
step sluice audience test --model fraud --metadata "state=New York" --metadata age=70
step python ask.py
step sluice overview

# A new build for New York: a canary inside its variation, or at once under your name.
step sluice deploy fraud --build 3 --variation ny
step sluice rollout abort fraud -m enough
step sluice deploy fraud --build 3 --variation ny --now --reason hotfix
step sluice builds fraud

# What is in use stays; what goes away goes in order.
refused sluice audience delete california
refused sluice undeploy fraud --variation ca
step sluice variation disconnect fraud ca --audience california
step sluice undeploy fraud --variation ca --reason "one model is enough there"
step sluice variation list
step python ask.py

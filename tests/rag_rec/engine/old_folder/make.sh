#!/usr/bin/env bash
# Makes the data folder of commit 6023328 that tests/rag_rec/engine/test_old_folder.py opens: the commands of that commit, run one
# after the other. Usage, in an environment where that commit is installed: make.sh TARGET.tar.gz
set -euo pipefail
target=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export RAGREC_HOME=$work/home OMP_NUM_THREADS=1

python - <<'PY'
import random
draw = random.Random(7)
kinds = ["comedy", "drama", "thriller", "western"]
with open("items.csv", "w") as out:
    print("item_id,text,kind,year", file=out)
    for n in range(40):
        print(f"film-{n},Film {n} a {kinds[n % 4]} of the year {1960 + n},{kinds[n % 4]},{1960 + n}", file=out)
with open("users.csv", "w") as out:
    print("user_id,age", file=out)
    for n in range(48):
        print(f"person-{n},{20 + n}", file=out)
with open("events.csv", "w") as out:
    print("user_id,item_id,time,event,value,text", file=out)
    for n in range(48):
        liked = draw.sample([i for i in range(40) if i % 4 == n % 4], 6) + draw.sample(range(40), 4)
        for place, item in enumerate(dict.fromkeys(liked)):
            value = 5 if item % 4 == n % 4 else draw.choice([1, 2, 4])
            note = f"note of person-{n}" if place == 0 else ""
            print(f"person-{n},film-{item},{1700000000 + 3600 * (100 * place + n)},rating,{value},{note}", file=out)
PY

rag-rec ingest items.csv --format csv --kind items
rag-rec ingest users.csv --format csv --kind users
rag-rec ingest events.csv --format csv --kind interactions
rag-rec index build
rag-rec compact build --epochs 2 --width 16 --layers 1 --context 16
rag-rec hold place person-9 --reason "a case in court"
rag-rec backup home/before.backup
forget() {  # what is to be forgotten: the words of the command; the person's id stands second
    local plan
    plan=$(rag-rec forget "$@" --dry-run --json | python -c 'import json, sys; print(json.load(sys.stdin)["plan"])')
    rag-rec forget "$@" --plan "$plan" --confirm "$2"
}
forget user person-3
forget interactions person-5 --item film-13
tar -C home --sort=name --owner=0 --group=0 --numeric-owner -czf "$target" .

"""The demo's CSV files: devices, and leads that belong to them.  The same seed writes the same files.

    deploy/demo/leads.py FOLDER [LEADS [DEVICES]]"""
import csv
import os
import random
import sys

FIRST = ("Aisyah Siti Nurul Farah Amira Hafiz Azlan Faizal Rahman Wei Mei Jun Hui Ling Kumar Priya Devi Arjun Maria "
         "José Zoë Øystein Łucja Søren").split()
LAST = "Abdullah Ismail Tan Lim Wong Lee Nair Pillai Santos Fernández Ong Yusof Hassan Chan Rajan Ibrahim".split()
CITIES = ["Ipoh", "Johor Bahru", "Kota Kinabalu", "Kuching", "Melaka", "Penang", "Shah Alam, Selangor"]


def write(folder, leads=3000, devices=30, gap="200ms..400ms", seed=1):
    """Returns (devices.csv, leads.csv)."""
    rng = random.Random(seed)
    paths = os.path.join(folder, "devices.csv"), os.path.join(folder, "leads.csv")
    with open(paths[0], "w", newline="", encoding="utf-8") as f:
        out = csv.writer(f)
        out.writerow(["name", "sender", "gap"])
        for i in range(devices):
            out.writerow([f"shop-{i + 1:02}", "provider", gap])
    phones = rng.sample(range(10_000_000, 100_000_000), leads)
    with open(paths[1], "w", newline="", encoding="utf-8") as f:
        out = csv.writer(f)
        out.writerow(["phone", "name", "city", "niche", "trigger", "device"])
        for i in range(leads):
            # As people type them: blanks, dashes, a plus, and here and there no name.
            number = f"{phones[i]:08}"
            phone = rng.choice(["+60 1{}-{} {}", "+601{}{}{}", "601{}-{}{}"]).format(rng.randrange(10), number[:4], number[4:])
            name = "" if rng.random() < 0.03 else f"{rng.choice(FIRST)} {rng.choice(LAST)}"
            # Of each shop's leads two are regulars, and five have just dropped in.
            nth = i // devices
            niche, trigger = "regular" if nth < 2 else "", "welcome" if 2 <= nth < 7 else ""
            out.writerow([phone, name, rng.choice(CITIES), niche, trigger, f"shop-{i % devices + 1:02}"])
    return paths


if __name__ == "__main__":
    print(*write(sys.argv[1], *map(int, sys.argv[2:4])), sep="\n")

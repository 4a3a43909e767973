-- A province's replica of the national population database, for the connector to answer from. Version 1.
--
-- `lgsp adapter population schema` prints this for the schema and the role that it is given; whoever may create a schema runs it
-- (psql -f). Run again it changes nothing. Whatever replicates writes; the adapter only reads.

BEGIN;

-- Not about what is there already.
SET LOCAL client_min_messages = warning;

CREATE SCHEMA IF NOT EXISTS {schema};

CREATE TABLE IF NOT EXISTS {schema}.version (
    version      integer     NOT NULL,
    only_one     boolean     PRIMARY KEY DEFAULT true CHECK (only_one),
    installed_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO {schema}.version (version) VALUES (1) ON CONFLICT DO NOTHING;

-- One row is one citizen. Empty is NULL: what is not registered is not told. Names are no key: all of number, name and date of birth
-- must agree, and names are compared by rules that a database does not know (see gateway/domain/src/person_name.rs).
CREATE TABLE IF NOT EXISTS {schema}.citizen (
    number                     text        PRIMARY KEY CHECK (number ~ '^[0-9]{12}$'),
    old_number                 text        CHECK (old_number ~ '^[0-9]{9}$'),
    full_name                  text        NOT NULL CHECK (full_name <> ''),
    date_of_birth              text        NOT NULL CHECK (date_of_birth ~ '^[0-9]{4}(-[0-9]{2}-[0-9]{2})?$'),
    sex                        text        CHECK (sex IN ('male', 'female', 'other')),
    ethnicity                  text,
    religion                   text,
    marital_status             text,
    blood_group                text,
    nationality                text,
    birthplace_province        text,
    birthplace_commune         text,
    birthplace_detail          text,
    birthplace_country         text,
    origin_province            text,
    origin_commune             text,
    origin_detail              text,
    origin_country             text,
    residence_province         text,
    residence_commune          text,
    residence_detail           text,
    residence_country          text,
    current_province           text,
    current_commune            text,
    current_detail             text,
    current_country            text,
    father_name                text,
    father_nationality         text,
    father_number              text,
    father_old_number          text,
    mother_name                text,
    mother_nationality         text,
    mother_number              text,
    mother_old_number          text,
    spouse_name                text,
    spouse_nationality         text,
    spouse_number              text,
    spouse_old_number          text,
    representative_name        text,
    representative_nationality text,
    representative_number      text,
    representative_old_number  text,
    household                  text,
    head_relation              text,
    head_name                  text,
    head_number                text,
    state                      text        NOT NULL DEFAULT 'current' CHECK (state IN ('current', 'deceased', 'locked')),
    updated_at                 timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS citizen_old_number ON {schema}.citizen (old_number) WHERE old_number IS NOT NULL;
CREATE INDEX IF NOT EXISTS citizen_household ON {schema}.citizen (household) WHERE household IS NOT NULL;

COMMENT ON TABLE {schema}.citizen IS 'one row is one citizen';
COMMENT ON COLUMN {schema}.citizen.number IS 'personal number (SoDinhDanh), 12 digits';
COMMENT ON COLUMN {schema}.citizen.old_number IS 'number of the old identity card (SoCMND), 9 digits; several people may have had the same';
COMMENT ON COLUMN {schema}.citizen.full_name IS 'name as registered (HoVaTen), accents and all, any case; how it is compared is the connector''s business';
COMMENT ON COLUMN {schema}.citizen.date_of_birth IS 'yyyy-mm-dd, or yyyy where only the year is registered (NgayThangNamSinh)';
COMMENT ON COLUMN {schema}.citizen.sex IS 'GioiTinh';
COMMENT ON COLUMN {schema}.citizen.ethnicity IS 'DanToc, as the ministry codes it';
COMMENT ON COLUMN {schema}.citizen.religion IS 'TonGiao, as the ministry codes it';
COMMENT ON COLUMN {schema}.citizen.marital_status IS 'TinhTrangHonNhan, as the ministry codes it';
COMMENT ON COLUMN {schema}.citizen.blood_group IS 'NhomMau';
COMMENT ON COLUMN {schema}.citizen.nationality IS 'QuocTich, ISO 3166 letters';
COMMENT ON COLUMN {schema}.citizen.birthplace_province IS 'where the birth was registered (NoiDangKyKhaiSinh): code of the province, as published from 1 July 2025';
COMMENT ON COLUMN {schema}.citizen.birthplace_commune IS 'where the birth was registered (NoiDangKyKhaiSinh): code of the commune, as published from 1 July 2025';
COMMENT ON COLUMN {schema}.citizen.birthplace_detail IS 'where the birth was registered (NoiDangKyKhaiSinh): house, street, hamlet, as registered';
COMMENT ON COLUMN {schema}.citizen.birthplace_country IS 'where the birth was registered (NoiDangKyKhaiSinh): country, ISO 3166 letters; VN if empty';
COMMENT ON COLUMN {schema}.citizen.origin_province IS 'place of origin (QueQuan): code of the province, as published from 1 July 2025';
COMMENT ON COLUMN {schema}.citizen.origin_commune IS 'place of origin (QueQuan): code of the commune, as published from 1 July 2025';
COMMENT ON COLUMN {schema}.citizen.origin_detail IS 'place of origin (QueQuan): house, street, hamlet, as registered';
COMMENT ON COLUMN {schema}.citizen.origin_country IS 'place of origin (QueQuan): country, ISO 3166 letters; VN if empty';
COMMENT ON COLUMN {schema}.citizen.residence_province IS 'permanent residence (ThuongTru): code of the province, as published from 1 July 2025';
COMMENT ON COLUMN {schema}.citizen.residence_commune IS 'permanent residence (ThuongTru): code of the commune, as published from 1 July 2025';
COMMENT ON COLUMN {schema}.citizen.residence_detail IS 'permanent residence (ThuongTru): house, street, hamlet, as registered';
COMMENT ON COLUMN {schema}.citizen.residence_country IS 'permanent residence (ThuongTru): country, ISO 3166 letters; VN if empty';
COMMENT ON COLUMN {schema}.citizen.current_province IS 'present place of living (NoiOHienTai): code of the province, as published from 1 July 2025';
COMMENT ON COLUMN {schema}.citizen.current_commune IS 'present place of living (NoiOHienTai): code of the commune, as published from 1 July 2025';
COMMENT ON COLUMN {schema}.citizen.current_detail IS 'present place of living (NoiOHienTai): house, street, hamlet, as registered';
COMMENT ON COLUMN {schema}.citizen.current_country IS 'present place of living (NoiOHienTai): country, ISO 3166 letters; VN if empty';
COMMENT ON COLUMN {schema}.citizen.father_name IS 'Cha: name, as registered';
COMMENT ON COLUMN {schema}.citizen.father_nationality IS 'Cha: nationality, ISO 3166 letters';
COMMENT ON COLUMN {schema}.citizen.father_number IS 'Cha: personal number of 12 digits';
COMMENT ON COLUMN {schema}.citizen.father_old_number IS 'Cha: number of the old identity card, 9 digits';
COMMENT ON COLUMN {schema}.citizen.mother_name IS 'Me: name, as registered';
COMMENT ON COLUMN {schema}.citizen.mother_nationality IS 'Me: nationality, ISO 3166 letters';
COMMENT ON COLUMN {schema}.citizen.mother_number IS 'Me: personal number of 12 digits';
COMMENT ON COLUMN {schema}.citizen.mother_old_number IS 'Me: number of the old identity card, 9 digits';
COMMENT ON COLUMN {schema}.citizen.spouse_name IS 'VoChong: name, as registered';
COMMENT ON COLUMN {schema}.citizen.spouse_nationality IS 'VoChong: nationality, ISO 3166 letters';
COMMENT ON COLUMN {schema}.citizen.spouse_number IS 'VoChong: personal number of 12 digits';
COMMENT ON COLUMN {schema}.citizen.spouse_old_number IS 'VoChong: number of the old identity card, 9 digits';
COMMENT ON COLUMN {schema}.citizen.representative_name IS 'legal representative (NguoiDaiDien): name, as registered';
COMMENT ON COLUMN {schema}.citizen.representative_nationality IS 'legal representative (NguoiDaiDien): nationality, ISO 3166 letters';
COMMENT ON COLUMN {schema}.citizen.representative_number IS 'legal representative (NguoiDaiDien): personal number of 12 digits';
COMMENT ON COLUMN {schema}.citizen.representative_old_number IS 'legal representative (NguoiDaiDien): number of the old identity card, 9 digits';
COMMENT ON COLUMN {schema}.citizen.household IS 'number of the household (SoSoHoKhau); its members are those with the same';
COMMENT ON COLUMN {schema}.citizen.head_relation IS 'what the citizen is to the head of the household (ChuHo: QuanHe)';
COMMENT ON COLUMN {schema}.citizen.head_name IS 'ChuHo: name, as registered';
COMMENT ON COLUMN {schema}.citizen.head_number IS 'ChuHo: personal number of 12 digits';
COMMENT ON COLUMN {schema}.citizen.state IS 'nothing is told of whom is not current';
COMMENT ON COLUMN {schema}.citizen.updated_at IS 'when this row was last brought up to date with the ministry''s';

GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT ON {schema}.version, {schema}.citizen TO {role};

COMMIT;

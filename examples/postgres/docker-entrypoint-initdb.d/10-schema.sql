create table ship (
    name text primary key,
    tons integer not null check (tons > 0)
);

create view heavy as
    select name from ship where tons > 50000;

